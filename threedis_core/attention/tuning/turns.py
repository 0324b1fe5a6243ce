"""Time that can be compared: contestants take turns in one process, and a figure is the median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def now(device: torch.device) -> float:
    """Seconds at which all work given to ``device`` is done.

    On one thread of a CPU it is the processor time of this process, so that other work counts
    little; several threads must wait for one another, so there the clock on the wall counts.
    """
    if device.type == "cpu":
        return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def take_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each call; they alternate, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = now(device)
            call()
            times[name].append(now(device) - start)
    return {name: statistics.median(found[1:]) for name, found in times.items()}
