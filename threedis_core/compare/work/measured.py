"""How long the parts of a task take, and how much memory it uses."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

import psutil

from threedis_core.plugin.progress import Progress, silent

LOADING = "loading"
"""How a backend calls its stage of loading, at the end of its name."""
CLEAR_PEAK, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Clock:
    """Adds up seconds by part; told of every step, it takes out what a model took to load.

    Args:
        tell: Told of every step too.
    """

    def __init__(self, tell: Progress = silent) -> None:
        self._tell = tell
        self._began: float | None = None
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note a step."""
        if stage.endswith(LOADING):
            if done == 0:
                self._began = perf_counter()
            elif self._began is not None:
                self._add(LOADING, perf_counter() - self._began)
                self._began = None
        self._tell(stage, done, total)

    @contextmanager
    def timed(self, part: str) -> Generator[None]:
        """Add to the part how long the block takes, without what was loaded meanwhile."""
        start, loaded = perf_counter(), self.seconds.get(LOADING, 0.0)
        try:
            yield
        finally:
            loading = self.seconds.get(LOADING, 0.0) - loaded
            self._add(part, perf_counter() - start - loading)

    def _add(self, part: str, seconds: float) -> None:
        self.seconds[part] = round(self.seconds.get(part, 0.0) + seconds, 6)


def forget_peak() -> None:
    """Let the peak of memory begin anew."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux alone has it
        CLEAR_PEAK.write_text("5")


def peak_memory() -> int:
    """The most bytes in use since ``forget_peak``: of the CUDA device, else of the process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, ValueError, StopIteration):
        lines = STATUS.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
