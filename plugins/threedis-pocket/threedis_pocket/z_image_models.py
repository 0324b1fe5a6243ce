"""The architecture of the pocket Z-Image: diffusers' and transformers' own classes, small."""

from __future__ import annotations

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    ZImageControlNetModel,
    ZImageTransformer2DModel,
)
from torch import nn
from transformers import Qwen3Config, Qwen3Model

from threedis_pocket.flux_models import LATENT_CHANNELS

QWEN_WIDTH = 96
CONTROL_CHANNELS = 2 * LATENT_CHANNELS + 1
"""As version 2.1 has it: the control's latents, then a mask and a picture, which are left empty."""
SHIFT = 1.65  # of the noise levels, as pocket-flux's at 128 pixels
GATE = 0.5
"""How much of each branch is added at the start of a training; by chance it would be little."""
LENT = (
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder"),
    *("noise_refiner", "context_refiner", "x_pad_token", "cap_pad_token"),
)
"""What a ControlNet has of its transformer."""
_SIZES = {"dim": 96, "n_heads": 3, "n_kv_heads": 3, "n_refiner_layers": 1}


def build_z_image_transformer() -> ZImageTransformer2DModel:
    """Z-Image's transformer: an image and a text refiner, then five joint layers."""
    transformer = ZImageTransformer2DModel(
        **_SIZES,
        in_channels=LATENT_CHANNELS,
        n_layers=5,
        cap_feat_dim=QWEN_WIDTH,
        axes_dims=[8, 12, 12],
        axes_lens=[1024, 64, 64],
    )
    _open_gates(transformer)
    return transformer


def build_z_image_controlnet() -> ZImageControlNetModel:
    """Fun-Controlnet-Union 2.1: a control layer beside the image refiner, two beside joint layers.

    Its output layers start small instead of zero, as those of
    :func:`threedis_pocket.models.build_controlnet`, and for the same reason.
    """
    controlnet = ZImageControlNetModel(
        **_SIZES,
        control_layers_places=[0, 2],
        control_refiner_layers_places=[0],
        control_in_dim=CONTROL_CHANNELS,
        add_control_noise_refiner="control_noise_refiner",
    )
    _open_gates(controlnet)
    for name, module in controlnet.named_modules():
        if name.endswith(("before_proj", "after_proj")):
            nn.init.xavier_uniform_(module.weight, gain=0.5)  # pyright: ignore[reportArgumentType]
    return controlnet


def build_z_image_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Z-Image-Turbo's own scheduler: flow matching, the same shift at every size."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def build_qwen(vocab_size: int, pad: int) -> Qwen3Model:
    """Qwen3 in small: three layers, of which Z-Image reads two."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=vocab_size,
            hidden_size=QWEN_WIDTH,
            intermediate_size=2 * QWEN_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
            max_position_embeddings=1024,
            pad_token_id=pad,
            eos_token_id=pad,
            use_cache=False,
        )
    )


def give_back(controlnet: ZImageControlNetModel) -> ZImageControlNetModel:
    """The ControlNet as it is saved: without what it has of its transformer."""
    for name in LENT:
        setattr(controlnet, name, None)
    return controlnet


@torch.no_grad()
def _open_gates(model: nn.Module) -> None:
    """Let every block add a good part of what it computes from the first step on."""
    for name, module in model.named_modules():
        if name.endswith("adaLN_modulation") and "final" not in name:
            _, attention, _, feed_forward = module[0].bias.chunk(4)  # pyright: ignore
            attention.fill_(GATE)
            feed_forward.fill_(GATE)
