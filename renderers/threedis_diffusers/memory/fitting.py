"""How many pictures of a batch go together, by the memory that is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from threedis_diffusers.batch import Batch
from threedis_diffusers.devices import SHARED_MEMORY, free_on
from threedis_diffusers.memory.needs import SPARE, Drawing, Work, memory_needs
from threedis_diffusers.memory.placing import work_of
from threedis_diffusers.memory.sizes import sizes_of_pipeline


def pictures_at_once(free: int, work: Callable[[int], Work], most: int) -> int:
    """How many of ``most`` pictures fit into ``free`` bytes together, at least 1.

    Args:
        free: Bytes of the device, beside the weights.
        work: What drawing so many pictures takes.
        most: How many there are.
    """
    fitting = (count for count in range(most, 1, -1) if work(count).most + SPARE <= free)
    return next(fitting, 1)


def that_fit(pipeline: Any, device: torch.device, offload: str, batch: Batch) -> int:
    """How many pictures of ``batch`` the device has room for at once, by estimate.

    On a CPU all of them: its memory is for others, too, and the system makes room.

    Args:
        pipeline: It is loaded and placed.
        device: Where it runs.
        offload: How it was placed.
        batch: What is to be drawn.
    """
    most = len(batch.requests)
    if most == 1 or device.type in SHARED_MEMORY or (free := free_on(device)) is None:
        return most
    parts = sizes_of_pipeline(pipeline)
    if offload != "none":  # the weights are not there yet
        needs = memory_needs(parts, 1, Work(), on_cpu=False)
        free -= next(need.device for need in needs if need.offload == offload) - SPARE
    instances = max(len(request.layout.instances) for request in batch.requests)

    def work(count: int) -> Work:
        return work_of(pipeline, parts, Drawing(batch.size, count, count * instances))

    return pictures_at_once(free, work, most)
