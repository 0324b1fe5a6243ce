"""Quantised weights: diffusers' own configuration, and whether this machine has what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from threedis_core.errors import OptionError


def find_quantization(keywords: Mapping[str, Any], libraries: Mapping[str, str]) -> Any:
    """The ``PipelineQuantizationConfig`` that ``keywords`` mean, if it works on this machine.

    Its parts' quantisers are asked now: while loading, diffusers would ask them after the first
    weights.

    Args:
        keywords: Its arguments, as a person wrote them.
        libraries: The parts that can be quantised, and whose each one is: "diffusers" or
            "transformers".
    Raises:
        OptionError: It cannot be used; a package or a device is missing.
    """
    from diffusers import PipelineQuantizationConfig

    with _explained():
        config = PipelineQuantizationConfig(**keywords)
        chosen = config.components_to_quantize or list(libraries)
        if unknown := sorted(set(chosen) - set(libraries)):
            raise ValueError(
                f"components_to_quantize names {unknown[0]!r}, but the parts with weights are "
                f"{', '.join(libraries)}"
            )
        for library in sorted({libraries[part] for part in chosen}):
            _ask_quantizer(library, config.quant_backend, config.quant_kwargs)
    return config


def _ask_quantizer(library: str, backend: str, keywords: Mapping[str, Any]) -> None:
    """Let the quantiser of a library look for the packages and the device that it needs."""
    if library == "diffusers":
        from diffusers.quantizers import auto

        quantizers = auto.DiffusersAutoQuantizer
    else:
        from transformers.quantizers import auto

        quantizers = auto.AutoHfQuantizer
    config = auto.AUTO_QUANTIZATION_CONFIG_MAPPING[backend](**keywords)
    quantizers.from_config(config, pre_quantized=False).validate_environment(device_map=None)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the libraries' refusals into one clear line."""
    try:
        yield
    except ImportError as error:
        raise OptionError(
            f"quantization needs a package that is not installed ({_line(error)}); install it, or "
            "leave quantization out",
            code="package-missing",
            path="quantization",
            hint="install it, or leave quantization out",
        ) from error
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise OptionError(
            f"quantization cannot be used: {_line(error)}; see diffusers' "
            "PipelineQuantizationConfig for its keys"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
