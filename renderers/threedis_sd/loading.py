"""Where a model lies, what its folder tells of it, and loading it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from threedis_core.errors import WeightsError
from threedis_sd.options import UNetOptions
from threedis_sd.quiet import quiet
from threedis_sd.sources import Source

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


def load_pipeline(
    pipeline_class: Any,
    model: Source,
    controlnet: Source,
    endings: Mapping[str, str],
    dtype: torch.dtype,
) -> Any:
    """Load a pipeline with its ControlNet, on the CPU, without a safety checker.

    Args:
        endings: The weights files' endings by part, "controlnet" among them.
    Raises:
        WeightsError: A file is damaged or does not fit its configuration.
    """
    from diffusers import ControlNetModel

    common: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    parts = [ending for part, ending in endings.items() if part != "controlnet"]
    with readable(controlnet), quiet():
        loaded = ControlNetModel.from_pretrained(
            controlnet.name if not controlnet.is_local else controlnet.path,
            subfolder=controlnet.subfolder or None,
            variant=_variant([endings["controlnet"]]),
            **common,
        )
    with readable(model), quiet():
        pipeline = pipeline_class.from_pretrained(
            model.name if not model.is_local else model.path,
            controlnet=loaded,
            variant=_variant(parts),
            **_left_out(pipeline_class),
            **common,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _left_out(pipeline_class: Any) -> dict[str, Any]:
    """Arguments that keep parts which are not used from being loaded."""
    unused = ("safety_checker", "feature_extractor", "image_encoder")
    known = inspect.signature(pipeline_class.__init__).parameters
    arguments: dict[str, Any] = {part: None for part in unused if part in known}
    if "safety_checker" in known:
        arguments["requires_safety_checker"] = False
    return arguments


def _variant(endings: Sequence[str]) -> str | None:
    return "fp16" if any(ending.startswith(".fp16") for ending in endings) else None


@contextmanager
def readable(source: Source) -> Iterator[None]:
    """Turn a loader's complaints into one clear line."""
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise WeightsError(
            f"'{source.name}' cannot be loaded ({reason}); the files are damaged or of another "
            "kind: get them again"
        ) from error
