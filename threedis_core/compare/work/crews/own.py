"""A crew of one: this process."""

from __future__ import annotations

import sys

from threedis_core.compare.work.bench import Bench
from threedis_core.compare.work.tasks import Outcome, Setting, Task
from threedis_core.errors import RenderError
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry


def set_threads(count: int) -> int | None:
    """Let torch use so many threads; how many it used before, None if nobody has imported it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before = int(torch.get_num_threads())
    if before != count:
        torch.set_num_threads(count)
    return before


class OwnProcess:
    """Does each task when it is waited for.

    Args:
        setting: What all tasks have in common.
        registry: The plugins.
        progress: Told about every step; what it raises ends the work and comes out as it is.
    """

    size = 1

    def __init__(
        self, setting: Setting, registry: PluginRegistry, progress: Progress = silent
    ) -> None:
        self._bench = Bench(setting, registry, progress)
        self._threads = setting.threads
        self._before: int | None = None
        self._task: Task | None = None

    def give(self, worker: int, task: Task) -> None:
        """Take the task."""
        self._task = task

    def next(self) -> tuple[int, Outcome | None]:
        """Do the task."""
        if self._task is None:
            raise RenderError("there is no task to wait for")
        before = set_threads(self._threads)
        self._before = before if self._before is None else self._before
        task, self._task = self._task, None
        return 0, self._bench.do(task)

    def close(self) -> None:
        """Free all models; torch has its threads back."""
        self._bench.close()
        if self._before is not None:
            set_threads(self._before)
