"""Where a model and its ControlNet lie, and what its folder tells of it."""

from __future__ import annotations

from typing import Any

import torch

from threedis_diffusers.loading import readable, variant
from threedis_diffusers.quiet import quiet
from threedis_diffusers.sources import Source
from threedis_sd.options import UNetOptions

VAE_FACTOR = 8


def options_source(options: UNetOptions, default_controlnet: str) -> tuple[Source, Source]:
    """Where the model and its ControlNet are: (model, ControlNet)."""
    model = Source(options.model)
    if options.controlnet is not None:
        return model, Source(options.controlnet)
    if model.is_local and (model.path / "controlnet").is_dir():
        return model, Source(options.model, "controlnet")
    return model, Source(default_controlnet)


def native_size(model: Source, default_side: int) -> tuple[int, int]:
    """A model's own side in pixels and its VAE's factor, as far as a local folder tells them."""
    if not (model.is_local and model.has("unet/config.json") and model.has("vae/config.json")):
        return default_side, VAE_FACTOR
    blocks = model.read("vae/config.json").get("block_out_channels")
    factor = 2 ** (len(blocks) - 1) if isinstance(blocks, list) else VAE_FACTOR
    side = model.read("unet/config.json").get("sample_size")
    return (side * factor if isinstance(side, int) else default_side), factor


def load_controlnet(source: Source, ending: str, dtype: torch.dtype) -> Any:
    """Load a ControlNet on the CPU.

    Args:
        source: Where it is.
        ending: The ending of its weights file.
        dtype: Number format of the weights.
    Raises:
        WeightsError: A file is damaged or does not fit its configuration.
    """
    from diffusers import ControlNetModel

    with readable(source), quiet():
        return ControlNetModel.from_pretrained(
            source.location,
            subfolder=source.subfolder or None,
            variant=variant([ending]),
            dtype=dtype,
            use_safetensors=True,
        )
