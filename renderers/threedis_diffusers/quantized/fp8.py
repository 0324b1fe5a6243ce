"""Weights kept as float8 and computed in the model's number format, by diffusers' casting hooks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

FORMATS: Mapping[str, torch.dtype] = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""The formats of eight bits that safetensors know, and torch's names for them."""
USUAL = torch.float8_e4m3fn
TEXT_ENCODER_KEEPS = ("norm", "shared", "embed", "relative_attention_bias", r"\bwo$")
"""Layers of a text encoder that stay: by the first of them transformers tells the number format of
the whole, and T5 casts what flows to that of ``wo``."""


def keep_in_fp8(model: nn.Module, dtype: torch.dtype, stored: torch.dtype = USUAL) -> None:
    """Keep the weights of a model's layers as float8; each is cast to ``dtype`` while it works.

    Norms stay as they are, and so do LoRAs, which have to be there before.

    Args:
        model: A part of a pipeline; changed in place.
        dtype: What it computes in.
        stored: A format of eight bits.
    """
    from diffusers import ModelMixin
    from diffusers.hooks import apply_layerwise_casting

    if isinstance(model, ModelMixin):
        model.enable_layerwise_casting(storage_dtype=stored, compute_dtype=dtype)
    else:
        apply_layerwise_casting(model, stored, dtype, skip_modules_pattern=TEXT_ENCODER_KEEPS)
