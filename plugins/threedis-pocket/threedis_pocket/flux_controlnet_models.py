"""The pocket FLUX.1-dev and its depth ControlNet, made of the FLUX that takes depth itself."""

from __future__ import annotations

import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from torch import nn

from threedis_pocket.flux_models import PACKED_CHANNELS

CONTROL_LAYERS = 1
"""The ControlNet's double blocks, and as many single ones."""
_SHARED = (
    "patch_size",
    "attention_head_dim",
    "num_attention_heads",
    "joint_attention_dim",
    "pooled_projection_dim",
    "guidance_embeds",
    "axes_dims_rope",
)


def build_flux_controlnet(
    donor: FluxTransformer2DModel,
) -> tuple[FluxTransformer2DModel, FluxControlNetModel]:
    """A transformer without depth channels and its ControlNet, both started from ``donor``.

    Args:
        donor: Takes depth on its channels, after the latents'.
    """
    config = {name: donor.config[name] for name in _SHARED}
    config["in_channels"] = PACKED_CHANNELS
    layers = {name: donor.config[name] for name in ("num_layers", "num_single_layers")}
    transformer = FluxTransformer2DModel(**config, **layers)
    state = donor.state_dict()
    latents, depth = state["x_embedder.weight"].split(PACKED_CHANNELS, 1)
    transformer.load_state_dict({**state, "x_embedder.weight": latents})
    controlnet = FluxControlNetModel(**config, **dict.fromkeys(layers, CONTROL_LAYERS))
    controlnet.load_state_dict(transformer.state_dict(), strict=False)  # it has fewer layers
    with torch.no_grad():
        controlnet.controlnet_x_embedder.weight.copy_(depth)
    for layer in [*controlnet.controlnet_blocks, *controlnet.controlnet_single_blocks]:
        nn.init.xavier_uniform_(layer.weight, gain=0.1)
    return transformer, controlnet
