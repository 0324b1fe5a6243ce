"""See that a ControlNet's files are there and that it fits, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from threedis_core.errors import WeightsError
from threedis_diffusers.checks import check_part
from threedis_diffusers.sources import Source

CONTROLNET_WEIGHTS = "diffusion_pytorch_model"
NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""Parts without which no Stable Diffusion pipeline works."""


def check_controlnet(source: Source, unet: Mapping[str, Any]) -> str:
    """See that a ControlNet's files are there and that it fits the U-Net's configuration.

    Returns:
        The ending of its weights file.
    Raises:
        WeightsError: A file is missing, or it belongs to another base model.
    """
    config = source.read("config.json")
    for key in ("cross_attention_dim", "block_out_channels", "in_channels"):
        if config.get(key) != unet.get(key):
            raise WeightsError(
                f"ControlNet '{source.name}' has {key} {config.get(key)}, but the model has "
                f"{unet.get(key)}; name a ControlNet that was trained for this base model"
            )
    return check_part(source, "", CONTROLNET_WEIGHTS)
