"""What a local model's files tell of the sizes it works at, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from threedis_diffusers.model_files.sources import ModelSource

USUAL_VAE_FACTOR = 8


@dataclass(frozen=True)
class ModelFacts:
    """The sizes that a model works at.

    Args:
        vae_factor: Pixels on a side of a latent pixel.
        side: The side in pixels that its U-Net was made for; None: its files do not tell it.
    """

    vae_factor: int = USUAL_VAE_FACTOR
    side: int | None = None


def model_facts(model: ModelSource) -> ModelFacts:
    """Read a model's facts from its local folder; of a model elsewhere the usual is assumed.

    Raises:
        WeightsError: A configuration file cannot be read.
    """
    vae = read_if_local(model, "vae/config.json")
    unet = read_if_local(model, "unet/config.json")
    widths, side = vae_widths(vae), unet.get("sample_size")
    factor = 2 ** (len(widths) - 1) if widths else USUAL_VAE_FACTOR
    return ModelFacts(factor, side * factor if isinstance(side, int) else None)


def vae_widths(config: Mapping[str, Any]) -> list[int]:
    """The channels of a VAE's stages, each half as large as the one before; empty: unknown.

    A video's VAE (Qwen-Image's) says them as multiples.
    """
    widths, multiples = config.get("block_out_channels"), config.get("dim_mult")
    if isinstance(widths, list | tuple):
        return list(widths)
    base = config.get("base_dim", 0)
    return [base * one for one in multiples] if isinstance(multiples, list | tuple) else []


def read_if_local(model: ModelSource, file: str) -> dict[str, Any]:
    """A configuration file of a model that is a local folder; empty if it is not there."""
    return model.read(file) if model.is_local and model.has(file) else {}
