"""Put a loaded pipeline where it runs: as a whole, or part by part as the free memory asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch

from threedis_core.plugin.inspection import MemoryNeed
from threedis_diffusers.devices import SHARED_MEMORY, free_on
from threedis_diffusers.lazy_model import free_memory
from threedis_diffusers.machine_failures import DEVICE_MEMORY, machine_failure
from threedis_diffusers.memory.lending import borrowed, holding, owned_alone, parts_of, set_aside
from threedis_diffusers.memory.needs import Drawing, Work, memory_needs, work_memory
from threedis_diffusers.memory.sizes import PartSize, sizes_of_pipeline
from threedis_diffusers.memory.spreading import spread
from threedis_diffusers.options import AUTO, DiffusersOptions

_log = logging.getLogger("threedis_core.models")

STREAMS = ("cuda", "xpu")
"""Devices that compute while the next weights are on their way."""
USUAL_SIDE = 1024


def choose_offload(needs: Sequence[MemoryNeed], free: int | None) -> str:
    """The roomiest way to place a model that fits; the most frugal one if none does.

    Args:
        needs: What each way needs, the roomiest first.
        free: Bytes of the device that are free; None: it does not say, and all is put there.
    """
    if free is None:
        return needs[0].offload
    fitting = (need.offload for need in needs if need.device <= free)
    return next(fitting, needs[-1].offload)


def place(
    pipeline: Any,
    options: DiffusersOptions,
    device: torch.device,
    side: int = USUAL_SIDE,
) -> str:
    """Move a pipeline to ``device``, let it be moved there part by part, or spread it.

    Where offload=auto has chosen a way that turns out to take more memory than there is, the next
    one is taken.

    Args:
        pipeline: It is in main memory.
        options: How it is to be placed.
        device: Where it runs; with a device_map, where its latents are.
        side: Of the pictures that there has to be room for, in pixels.
    Returns:
        How it was placed: "none", "model", "group" or "sequential".
    """
    if options.device_map is not None:
        work = work_of(pipeline, sizes_of_pipeline(pipeline), Drawing((side, side)))
        spread(pipeline, device, work.most)
        return "none"
    if options.offload != AUTO:
        _carry_out(pipeline, options.offload, device)
        return options.offload
    if device.type in SHARED_MEMORY:
        pipeline.to(device)
        return "none"
    needs, free = needs_of(pipeline, (side, side)), free_on(device)
    chosen = choose_offload(needs, free)
    ways = [need.offload for need in needs]
    for way in ways[ways.index(chosen) :]:
        _log.info("offload=auto: %s, for %s of %s are free", way, _gib(free), device)
        try:
            _carry_out(pipeline, way, device)
        except Exception as error:
            if machine_failure(error) != DEVICE_MEMORY or way == ways[-1]:
                raise
            pipeline.to("cpu")
        else:
            return way
        free_memory()
    raise AssertionError("the last way returns or raises")


def needs_of(pipeline: Any, size: tuple[int, int]) -> tuple[MemoryNeed, ...]:
    """What each way to place a loaded pipeline needs, by the bytes that its weights have."""
    parts = sizes_of_pipeline(pipeline)
    return memory_needs(parts, 1, work_of(pipeline, parts, Drawing(size)), on_cpu=False)


def work_of(pipeline: Any, parts: Mapping[str, PartSize], drawing: Drawing) -> Work:
    """What drawing with a loaded pipeline takes beside the weights."""
    configs = {name: _config(pipeline, name) for name in ("unet", "transformer", "vae")}
    dtype: torch.dtype = pipeline.dtype
    upcast = dtype == torch.float16 and configs["vae"].get("force_upcast", False)
    return work_memory(configs, parts, drawing, dtype.itemsize, 4 if upcast else dtype.itemsize)


def _carry_out(pipeline: Any, way: str, device: torch.device) -> None:
    if way == "none":
        pipeline.to(device)
    elif way == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif way == "sequential":
        with owned_alone(pipeline):
            pipeline.enable_sequential_cpu_offload(device=device)
    else:
        _offload_groups(pipeline, device)


def _offload_groups(pipeline: Any, device: torch.device) -> None:
    """Fetch layer by layer, those ahead that come in the same order at every step.

    What is lent comes twice a step, after different layers, and is fetched when it is its turn.
    """
    from diffusers.hooks import apply_group_offloading

    streams = device.type in STREAMS
    lent = {one.module for held in borrowed(pipeline).values() for one in held}
    with set_aside(one for part in parts_of(pipeline).values() for one in holding(part, lent)):
        pipeline.enable_group_offload(
            onload_device=device,
            offload_type="leaf_level",
            use_stream=streams,
            record_stream=streams,
            # Pinned memory is a copy, until the weights that it was made of are let go of.
            low_cpu_mem_usage=streams and _main_memory_is_short(pipeline),
        )
    for module in lent:
        apply_group_offloading(module, device, offload_type="leaf_level")


def _main_memory_is_short(pipeline: Any) -> bool:
    weights = sum(part.parameters for part in sizes_of_pipeline(pipeline).values())
    return psutil.virtual_memory().available < weights


def _config(pipeline: Any, part: str) -> dict[str, Any]:
    return dict(getattr(getattr(pipeline, part, None), "config", None) or {})


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
