"""The crew that somebody's means name, started when there is something to do."""

from __future__ import annotations

from threedis_core.compare.work.crews.cluster import Cluster
from threedis_core.compare.work.crews.own import OwnProcess
from threedis_core.compare.work.crews.processes import Processes
from threedis_core.compare.work.driver import Crew
from threedis_core.compare.work.means import Means
from threedis_core.compare.work.tasks import Outcome, Setting, Task
from threedis_core.plugin.progress import Progress
from threedis_core.plugin.registry import PluginRegistry


class LateCrew:
    """Workers that are started with the first question for them.

    Args:
        setting: What all tasks have in common.
        registry: The plugins, for work in this process; others load the installed ones.
        means: How the work is done.
        progress: Told about every step of work in this process.
    """

    def __init__(
        self, setting: Setting, registry: PluginRegistry, means: Means, progress: Progress
    ) -> None:
        self._setting, self._registry = setting, registry
        self._means, self._progress = means, progress
        self._hired: Crew | None = None

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._crew.size

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker do a task."""
        self._crew.give(worker, task)

    def next(self) -> tuple[int, Outcome | None]:
        """Wait for a worker's end of its task; None: it died."""
        return self._crew.next()

    def close(self) -> None:
        """Let all workers go, if there are any."""
        if self._hired is not None:
            self._hired.close()

    @property
    def _crew(self) -> Crew:
        if self._hired is None:
            self._hired = self._made()
        return self._hired

    def _made(self) -> Crew:
        means, setting = self._means, self._setting
        if means.engine == "ray":
            return Cluster(setting, means.workers, means.address)
        if means.in_this_process:
            return OwnProcess(setting, self._registry, self._progress)
        return Processes(setting, means.workers or 1)
