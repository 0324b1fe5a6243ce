"""The architecture of the pocket SD3.5: diffusers' own classes, small."""

from __future__ import annotations

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from threedis_pocket.flux_models import LATENT_CHANNELS
from threedis_pocket.models import OPEN_TEXT_WIDTH, TEXT_WIDTH

JOINT_WIDTH = TEXT_WIDTH + OPEN_TEXT_WIDTH
"""Of T5's embeddings, and of both CLIPs' side by side."""
SHIFT = 1.65  # of the noise levels, as pocket-flux's at 128 pixels
HEADS, HEAD_WIDTH = 4, 24
_SIZES = {
    "sample_size": 32,
    "patch_size": 2,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "attention_head_dim": HEAD_WIDTH,
    "num_attention_heads": HEADS,
    "caption_projection_dim": HEADS * HEAD_WIDTH,
    "pooled_projection_dim": JOINT_WIDTH,
    "pos_embed_max_size": 32,
}


def build_sd3_transformer() -> SD3Transformer2DModel:
    """SD3.5-medium's transformer: a second, image-only attention in the first two of four layers.

    Its patches are 8 pixels wide, so that 128 pixels are 16x16 tokens; 32x32 are the most.
    """
    return SD3Transformer2DModel(
        **_SIZES,
        num_layers=4,
        joint_attention_dim=JOINT_WIDTH,
        dual_attention_layers=(0, 1),
        qk_norm="rms_norm",
    )


def build_sd3_controlnet() -> SD3ControlNetModel:
    """SD3.5-large's depth ControlNet: it reads no text, and takes the transformer's patches.

    Its output layers and the depth's patches start small instead of zero, as those of
    :func:`threedis_pocket.models.build_controlnet`, and for the same reason.
    """
    controlnet = SD3ControlNetModel(
        **_SIZES,
        num_layers=2,
        joint_attention_dim=None,  # pyright: ignore[reportArgumentType]
        use_pos_embed=False,
        pos_embed_type=None,
        force_zeros_for_pooled_projection=False,
    )
    for layer in [*controlnet.controlnet_blocks, controlnet.pos_embed_input.proj]:
        nn.init.xavier_uniform_(layer.weight.flatten(1), gain=0.5)
    return controlnet


def build_sd3_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """SD3.5's own scheduler: flow matching, the same shift at every size."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def with_projection(encoder: CLIPTextModel) -> CLIPTextModelWithProjection:
    """The encoder as SD3 loads it; its pooled text is projected onto itself."""
    config = CLIPTextConfig(**encoder.config.to_dict())
    projecting = CLIPTextModelWithProjection(config).to(encoder.dtype)
    projecting.text_model.load_state_dict(encoder.state_dict())
    nn.init.eye_(projecting.text_projection.weight)
    return projecting.eval()


@torch.no_grad()
def widen_t5(encoder: T5EncoderModel, width: int = JOINT_WIDTH) -> T5EncoderModel:
    """The same encoder on more channels; the added ones are zero everywhere.

    SD3 pads what its CLIPs say to the width of its T5.
    """
    config = T5Config(**encoder.config.to_dict())
    share = config.d_model / width
    config.d_model = width
    config.layer_norm_epsilon *= share  # the mean square is over more channels
    wide, given = T5EncoderModel(config).to(encoder.dtype), encoder.state_dict()
    for name, value in wide.state_dict().items():
        value.zero_()
        part = given[name] * share**0.5 if name.endswith("layer_norm.weight") else given[name]
        value[tuple(slice(side) for side in part.shape)] = part
    return wide.eval()
