"""Workers on a Ray cluster: an actor per device, or per share of the cores."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from threedis_core.compare.work.crews.environment import worker_environment
from threedis_core.compare.work.tasks import Outcome, Setting, Task
from threedis_core.errors import OptionError, RenderError

_log = logging.getLogger("threedis_core.compare")
EXTRA = 'pip install "threedis[ray]"'


class Worker:
    """What an actor is: a bench that keeps its models between tasks.

    Args:
        setting: What all tasks have in common.
    """

    def __init__(self, setting: Setting) -> None:
        from threedis_core.compare.work.bench import Bench
        from threedis_core.plugin.discovery import load_plugins

        self._setting = setting
        self._bench = Bench(setting, load_plugins())

    def ready(self) -> bool:
        """Say that it has started."""
        return True

    def do(self, task: Task) -> Outcome:
        """Do a task."""
        from threedis_core.compare.work.crews.own import set_threads

        set_threads(self._setting.threads)
        return self._bench.do(task)


class Cluster:
    """Actors that do tasks; one that dies is replaced. Tasks carry all they need: no shared disk.

    Args:
        setting: What all tasks have in common.
        size: How many; None: one per GPU of the cluster, or, without any, per share of its cores.
        address: Of a cluster that is there; None: one of this machine, for this work alone.
    Raises:
        OptionError: Ray is not installed.
        RenderError: The cluster cannot be reached, or an actor cannot start.
    """

    def __init__(self, setting: Setting, size: int | None, address: str | None) -> None:
        try:
            self._ray: Any = import_module("ray")
        except ImportError as error:
            raise OptionError(
                f"engine is 'ray', but Ray is not installed; install it: {EXTRA}",
                code="package-missing",
                path="engine",
                hint=EXTRA,
            ) from error
        self._setting = setting
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect(address)
        resources = self._ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self.size = size or gpus or max(1, cores // setting.threads)
        needs = {"num_gpus": min(1.0, gpus / self.size)} if gpus else {"num_gpus": 0}
        environment = {"env_vars": worker_environment(setting.threads)}
        self._actor = self._ray.remote(Worker).options(
            num_cpus=min(setting.threads, cores), runtime_env=environment, **needs
        )
        self._refs: dict[Any, int] = {}
        try:
            self._actors = [self._actor.remote(setting) for _ in range(self.size)]
            self._ray.get([actor.ready.remote() for actor in self._actors])
        except Exception as error:
            self.close()
            raise RenderError(f"Ray's workers cannot start: {error}") from error

    def give(self, worker: int, task: Task) -> None:
        """Send the task."""
        self._refs[self._actors[worker].do.remote(task)] = worker

    def next(self) -> tuple[int, Outcome | None]:
        """Wait for the next outcome, or for an actor's death."""
        (ended,), _ = self._ray.wait(list(self._refs), num_returns=1)
        worker = self._refs.pop(ended)
        try:
            return worker, self._ray.get(ended)
        except self._ray.exceptions.RayError as error:  # it died, or what it runs on
            _log.info("worker %d died: %s", worker, type(error).__name__)
            self._ray.kill(self._actors[worker])
            self._actors[worker] = self._actor.remote(self._setting)
            return worker, None

    def close(self) -> None:
        """Let all actors go; a cluster that was begun for this work ends."""
        for actor in getattr(self, "_actors", ()):
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()

    def _connect(self, address: str | None) -> None:
        try:
            self._ray.init(
                address=address,
                log_to_driver=False,
                include_dashboard=False if address is None else None,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise RenderError(
                f"no Ray cluster at {address or 'this machine'}: {error}; check --address"
            ) from error
