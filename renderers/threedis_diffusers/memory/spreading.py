"""Spread a loaded pipeline over several accelerators: each of its parts lies on one of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module

from threedis_core.errors import RenderError
from threedis_core.plugin.inspection import Inspection
from threedis_diffusers.devices import accelerators, room_on
from threedis_diffusers.memory.lending import borrowed
from threedis_diffusers.memory.sizes import sizes_of_pipeline

_log = logging.getLogger("threedis_core.models")

HOME = ("unet", "transformer", "vae")
"""Parts that stay together: the denoiser, and the VAE, which is called by methods that look after
no device and whose latents pipelines join with the denoiser's. So does a part that another has lent
something."""

Place = TypeVar("Place")


def balanced(sizes: Mapping[str, int], free: Mapping[Place, int]) -> dict[str, Place]:
    """Where each part goes: the largest first, each where most room is left.

    Args:
        sizes: Bytes of each part.
        free: Bytes that are free at each place.
    Raises:
        RenderError: There is no room for a part.
    """
    left = dict(free)
    places: dict[str, Place] = {}
    for part in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        roomiest = max(left, key=lambda place: left[place])
        if sizes[part] > left[roomiest]:
            hint = "use smaller weights, or offload=group in place of device_map"
            raise RenderError(
                f"device_map: the {part} takes {_gib(sizes[part])}, but no more than "
                f"{_gib(max(0, left[roomiest]))} are left ('{roomiest}'); {hint}",
                code="out-of-memory",
                hint=hint,
            )
        places[part] = roomiest
        left[roomiest] -= sizes[part]
    return places


def spread(pipeline: Any, home: torch.device, work: int) -> None:
    """Put each part of a pipeline on an accelerator, and have what it reads follow it there.

    What a part gives comes back to where it was called from, so the pipeline's own tensors are all
    at ``home``.

    Args:
        pipeline: It is loaded.
        home: Where denoiser and VAE go; one of several accelerators of a kind.
        work: Bytes that drawing takes there beside the weights.
    Raises:
        RenderError: There is no room for a part.
    """
    sizes = {name: size.parameters for name, size in sizes_of_pipeline(pipeline).items()}
    parts = {name: pipeline.components[name] for name in sizes}
    free = {device: room_on(device) for device in accelerators(home.type)}
    for name, part in parts.items():  # bitsandbytes has put its own on an accelerator already
        if part.device in free:
            free[part.device] += sizes[name]
    together = (*HOME, *borrowed(pipeline))
    at_home = [name for name in sizes if name in together]
    free[home] -= work + sum(sizes[name] for name in at_home)
    others = {name: size for name, size in sizes.items() if name not in together}
    places = {**dict.fromkeys(at_home, home), **balanced(others, free)}
    for name, device in places.items():
        if parts[name].device != device:
            parts[name].to(device)
        add_hook_to_module(parts[name], AlignDevicesHook(device, io_same_device=True))
    # So diffusers knows that nothing is to be moved any more, and that it computes at home.
    pipeline.hf_device_map = {name: str(device) for name, device in places.items()}
    pipeline._exclude_from_cpu_offload = [name for name in places if places[name] != home]
    _log.info("device_map=balanced: %s", pipeline.hf_device_map)


def without_memory(found: Inspection) -> Inspection:
    """What was found about a model that is to be spread: of one accelerator's memory, nothing."""
    devices = ", ".join(map(str, accelerators(torch.device(found.device).type)))
    note = (
        f"device_map spreads the model's parts over {devices}, by what is free when it is loaded; "
        "what each needs is not estimated"
    )
    return replace(found, memory=(), memory_basis="", notes=(*found.notes, note))


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
