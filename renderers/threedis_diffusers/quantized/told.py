"""Say how the weights of a loaded pipeline are stored, from the weights themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from threedis_diffusers.quantized.fp8 import FORMATS


def stored_as(parts: Mapping[str, Any]) -> dict[str, str]:
    """How each part whose weights are not plain numbers holds them: "gguf Q8_0", "int8 torchao".

    Args:
        parts: A pipeline's parts by name; what has no weights is passed over.
    """
    told = {name: _stored(part) for name, part in parts.items() if isinstance(part, nn.Module)}
    return {name: how for name, how in told.items() if how}


def _stored(part: nn.Module) -> str:
    weights: list[Any] = list(part.parameters())
    packed = [one.quant_type.name for one in weights if type(one).__name__ == "GGUFParameter"]
    if packed:
        return f"gguf {' '.join(sorted(set(packed)))}"
    quantizer: Any = getattr(part, "hf_quantizer", None)
    config = getattr(quantizer, "quantization_config", None)
    method = str(getattr(getattr(config, "quant_method", ""), "value", ""))
    if method and method != "gguf":  # transformers unpacks such files
        return f"{method} {_kind(config)}".strip()
    eight = {one.dtype for one in weights} & set(FORMATS.values())
    return " ".join(sorted(str(one).removeprefix("torch.") for one in eight))


def _kind(config: Any) -> str:
    """Which of the formats of its library it is."""
    if hasattr(config, "quant_type"):
        return type(config.quant_type).__name__
    if getattr(config, "load_in_4bit", False):
        return config.bnb_4bit_quant_type
    return str(getattr(config, "weights_dtype", getattr(config, "weights", "")))
