"""What a person wrote as ``quantization``: for which part, by what, with which keywords.

Imports no library: names are checked when the options are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from threedis_core.suggest import did_you_mean

FP8 = "fp8"
"""Weights kept as float8, computed in the model's number format: diffusers' layerwise casting."""
GGUF = "gguf"
BFL = "bfl"
TEXT_FP8_BITS = 9.9
"""Of a T5 in FP8, on the average: a fifth of it stays in 16."""
PIPELINE_KEYS = {"quant_backend", "quant_kwargs", "components_to_quantize", "quant_mapping"}
"""The keywords of diffusers' ``PipelineQuantizationConfig``."""
PART_KEYS = {"quant_backend", "quant_kwargs"}


@dataclass(frozen=True)
class Backend:
    """A library that quantises.

    Args:
        module: What is imported; "": nothing beside diffusers.
        package: What ``pip install`` calls it.
        bits: Bits that a weight takes, scales included, unless the keywords say other ones.
    """

    module: str
    package: str
    bits: float = 8.0


BACKENDS: Mapping[str, Backend] = {
    FP8: Backend("", ""),
    "bitsandbytes_4bit": Backend("bitsandbytes", "bitsandbytes", 4.5),
    "bitsandbytes_8bit": Backend("bitsandbytes", "bitsandbytes"),
    "torchao": Backend("torchao", "torchao"),
    "quanto": Backend("optimum.quanto", "optimum-quanto"),
    GGUF: Backend("gguf", "gguf"),
    BFL: Backend("", ""),
    "modelopt": Backend("modelopt", "nvidia-modelopt[hf]"),
    "auto-round": Backend("auto_round", "auto-round"),
    "nunchaku_lite": Backend("kernels", "kernels", 4.5),
    "sdnq": Backend("sdnq", "sdnq"),
}
"""By the names that diffusers has for them, and ours for its layerwise casting."""


@dataclass(frozen=True)
class Wanted:
    """How a part is to be quantised.

    Args:
        backend: One of ``BACKENDS``.
        keywords: Of the backend's configuration in diffusers or transformers.
        short: The short form that it was written as; "" if it was not.
    """

    backend: str
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])
    short: str = ""

    @property
    def bits(self) -> float:
        """Bits that a weight takes, roughly."""
        text = str(dict(self.keywords)).lower()
        return 4.5 if "int4" in text else BACKENDS[self.backend].bits


SHORT: Mapping[str, Wanted] = {
    "nf4": Wanted("bitsandbytes_4bit", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
    "fp4": Wanted("bitsandbytes_4bit", {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "fp4"),
    "int8": Wanted("torchao", {"quant_type": "Int8WeightOnlyConfig"}, "int8"),
    FP8: Wanted(FP8, {}, FP8),
}
"""What a word alone means."""


def read_wanted(
    value: str | Mapping[str, Any] | None, parts: Sequence[str], large: Sequence[str]
) -> dict[str, Wanted | None]:
    """How each part is to be quantised.

    Args:
        value: A short form for the large parts; diffusers' keywords; or one of the two for each
            part by its name (null: as its file is).
        parts: The parts that can be quantised.
        large: Those that are where none is named.
    Returns:
        By part; the other parts stay as they are.
    Raises:
        ValueError: A name that is not known, or keywords that do not go together.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        return dict.fromkeys(large, _read_one(value))
    if not value:
        raise ValueError(f"nothing is said; expected {_forms(parts)}")
    unknown = sorted(value.keys() - PIPELINE_KEYS)
    if unknown and not value.keys() & PIPELINE_KEYS:
        return _by_part(value, parts)
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}'; expected {', '.join(sorted(PIPELINE_KEYS))}")
    if "quant_mapping" in value:
        if len(value) > 1:
            raise ValueError("quant_mapping says all by itself; leave the other keys out")
        return _by_part(value["quant_mapping"], parts)
    named = value.get("components_to_quantize") or large
    one = _read_one({key: value[key] for key in PART_KEYS if key in value})
    return {
        _known_part(part, parts): one for part in ([named] if isinstance(named, str) else named)
    }


def weight_bits(wanted: Mapping[str, Wanted | None]) -> dict[str, float]:
    """Bits of a weight of each part that is quantised while it loads, roughly."""
    return {
        part: TEXT_FP8_BITS if one.backend == FP8 and part.startswith("text_") else one.bits
        for part, one in wanted.items()
        if one is not None
    }


def _by_part(value: Any, parts: Sequence[str]) -> dict[str, Wanted | None]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a form for each part by its name, got {value!r:.60}")
    return {
        _known_part(part, parts): None if one is None else _read_one(one)
        for part, one in value.items()
    }


def _known_part(part: str, parts: Sequence[str]) -> str:
    if part not in parts:
        raise ValueError(f"no part '{part}'; expected {_forms(parts)}{did_you_mean(part, parts)}")
    return part


def _read_one(value: Any) -> Wanted:
    """How one part is to be quantised."""
    if isinstance(value, str):
        if value not in SHORT:
            raise ValueError(
                f"unknown form '{value}'; expected one of: {', '.join(SHORT)}, or a mapping with "
                f"quant_backend and quant_kwargs{did_you_mean(value, SHORT)}"
            )
        return SHORT[value]
    if not isinstance(value, Mapping) or value.keys() - PART_KEYS:
        raise ValueError(
            f"got {value!r:.80}; expected a short form, or quant_backend, quant_kwargs"
        )
    backend, keywords = value.get("quant_backend"), value.get("quant_kwargs") or {}
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(
            f"quant_backend is {backend!r}; expected one of: {', '.join(BACKENDS)}"
            f"{did_you_mean(str(backend), BACKENDS)}"
        )
    if not isinstance(keywords, Mapping):
        raise ValueError(f"quant_kwargs is {keywords!r:.60}; expected keywords of {backend}")
    return Wanted(backend, dict(keywords))


def _forms(parts: Sequence[str]) -> str:
    return (
        f"one of {', '.join(SHORT)}; diffusers' quant_backend and quant_kwargs; or one of the two "
        f"by part: {', '.join(parts)}"
    )
