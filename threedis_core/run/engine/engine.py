"""The engine: it keeps models loaded, and gives each to one caller at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from numbers import Real
from threading import Lock, Thread
from typing import Self, Unpack

import numpy as np

from threedis_core.errors import OptionError, ThreeDISError
from threedis_core.files.printable import printable
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig, RunSettings
from threedis_core.run.engine.job import Job
from threedis_core.run.engine.shelf import KeptModel, Shelf
from threedis_core.run.engine.stop import Stop
from threedis_core.run.folder import run_slug
from threedis_core.run.group import (
    carry_out_group,
    check_group_folder,
    folder_names,
    plan_group,
)
from threedis_core.run.lending import BackendT, Lender
from threedis_core.run.loop import carry_out
from threedis_core.run.plan import RunPlan, check_layouts, check_type, plan_run
from threedis_core.run.result import Previews, Run
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown

_log = logging.getLogger("threedis_core.engine")


class Engine:
    """Renders, and keeps the models that it has loaded for the next time.

    Any number of threads may call it. Each model is loaded once and works for one caller at a
    time; others who want the same one wait, and have their turns in the order they came. Different
    models work at the same time. What is the same model, ``Backend.load_key`` says.

    Args:
        memory_limit: Bytes that all models together may hold while they are not at work; the least
            recently used leave first. None: no limit; 0: none is kept. A model whose backend does
            not say how much it holds is kept only without a limit.
        registry: The plugins to use; None: the installed ones.
    """

    def __init__(
        self, *, memory_limit: int | None = None, registry: PluginRegistry | None = None
    ) -> None:
        asked: object = memory_limit
        whole = isinstance(asked, int | np.integer) and not isinstance(asked, bool)
        if memory_limit is not None and not (whole and memory_limit >= 0):
            raise OptionError(
                f"memory_limit is {shown(memory_limit)}; expected a whole number of bytes, 0 or "
                "more, such as 2 * 2**30, or None",
                code="wrong-value",
                path="memory_limit",
            )
        if registry is not None:
            check_type("registry", registry, PluginRegistry, "load_plugins()")
        self.registry = registry or load_plugins()
        self._shelf = Shelf(memory_limit)
        self._lock = Lock()
        self._jobs: dict[Job, Thread] = {}
        self._submitted = 0
        self._closed = False

    def render(
        self,
        layout: Layout,
        *,
        depth: DepthMap | None = None,
        progress: Progress = silent,
        previews: Previews | None = None,
        **settings: Unpack[RunSettings],
    ) -> Run:
        """Render a layout, as ``threedis_core.render`` does; arguments and errors are the same.

        Args:
            layout: What is where.
            depth: Its depth map; None: ``depth_model`` makes one.
            progress: Told about every step; what it raises ends the run and comes out as it is.
            previews: Who looks at pictures in the making, if anybody does.
            **settings: The fields of ``RunConfig``.
        """
        with _refusal_logged():
            config = validate_options(RunConfig, settings, "render")
        return self.render_config(
            config, layout=layout, depth=depth, progress=progress, previews=previews
        )

    def render_config(
        self,
        config: RunConfig,
        *,
        layout: Layout | None = None,
        depth: DepthMap | None = None,
        progress: Progress = silent,
        previews: Previews | None = None,
    ) -> Run:
        """Do what ``config`` says, as ``threedis_core.render_config`` does."""
        with _refusal_logged():
            _check_watchers(progress, previews)
            plan = plan_run(config, self.registry, layout, depth)
        return self.carry_out(plan, progress, previews)

    def carry_out(
        self, plan: RunPlan, progress: Progress = silent, previews: Previews | None = None
    ) -> Run:
        """Do what was planned; see ``run.loop.carry_out``."""
        return carry_out(plan, progress, _Turns(self._shelf, Stop()), previews)

    def render_all(
        self,
        layouts: Sequence[Layout],
        *,
        depth: DepthMap | None = None,
        progress: Progress = silent,
        previews: Previews | None = None,
        **settings: Unpack[RunSettings],
    ) -> list[Run]:
        """Render several layouts alike; each model is loaded once for all of them.

        Each one's folder in ``out`` is called by the layout's id, or its prompt, and a sheet beside
        them shows all. Arguments and errors are those of ``render``.
        """
        with _refusal_logged():
            _check_watchers(progress, previews)
            check_layouts(layouts)
            config = validate_options(RunConfig, settings, "render")
            names = folder_names([layout.id or run_slug(layout.prompt) for layout in layouts])
            if config.out is not None:
                check_group_folder(config.out, names)
            configs = [config.model_copy(update={"out": None})] * len(layouts)
            places = [f"layout[{number}]" for number in range(len(layouts))]
            plans = plan_group(configs, self.registry, layouts, places, depth)
        turns = _Turns(self._shelf, Stop())
        return carry_out_group(plans, names, config.out, progress, turns, previews).runs

    def submit(
        self,
        layout: Layout,
        *,
        depth: DepthMap | None = None,
        progress: Progress = silent,
        previews: Previews | None = None,
        deadline: float | None = None,
        **settings: Unpack[RunSettings],
    ) -> Job:
        """Check what is asked now, and render it in a thread of its own.

        Args:
            layout: What is where.
            depth: Its depth map; None: ``depth_model`` makes one.
            progress: Told about every step, in the job's thread.
            previews: Whether pictures in the making are shown, how often, and to whom.
            deadline: Seconds from now until which it must be done; None: it has all the time.
            **settings: The fields of ``RunConfig``.
        Raises:
            InputError: Something is wrong with what was asked.
            WeightsError: A model is missing.
        """
        with _refusal_logged():
            _check_watchers(progress, previews)
            if deadline is not None and not (isinstance(deadline, Real) and deadline > 0):
                raise OptionError(
                    f"deadline is {shown(deadline)}; expected seconds, more than 0, or None",
                    code="wrong-value",
                    path="deadline",
                )
            config = validate_options(RunConfig, settings, "submit")
            plan = plan_run(config, self.registry, layout, depth)
        stop = Stop(deadline, self._shelf.wake)
        job, turns = Job(stop, progress, previews), _Turns(self._shelf, stop)

        def work() -> None:
            job.carry_out(lambda told, shown: carry_out(plan, told, turns, shown))
            with self._lock:
                del self._jobs[job]

        with self._lock:
            if self._closed:
                raise OptionError("the engine is closed; make another one")
            self._submitted += 1
            name = f"threedis job {self._submitted}"
            self._jobs[job] = Thread(target=work, name=name)
            _log.info("%s: submitted, %d before it", name, len(self._jobs) - 1)
            self._jobs[job].start()
        return job

    def lender(self) -> Lender:
        """Gives out kept models, for work that is no run: one backend to one caller at a time."""
        return _Turns(self._shelf, Stop())

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that have not ended, in the order they were submitted."""
        with self._lock:
            return tuple(self._jobs)

    @property
    def models(self) -> tuple[KeptModel, ...]:
        """What is loaded now, the least recently used first."""
        return self._shelf.models()

    @property
    def memory(self) -> int:
        """Bytes of all models that are loaded now, as far as their backends say."""
        return sum(model.bytes or 0 for model in self.models)

    def close(self) -> None:
        """Cancel all jobs, wait for what is at work, and free everything.

        Nothing can be rendered with the engine afterwards.

        Raises:
            RenderError: It was called by what the engine is at work for: it would wait for itself.
        """
        with self._lock:
            self._closed = True
            threads = dict(self._jobs)
        for job in threads:
            job.cancel()
        self._shelf.close(_nobody)
        for thread in threads.values():
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Turns:
    """Lends from a shelf for one run, as long as that is not to end."""

    def __init__(self, shelf: Shelf, stop: Stop) -> None:
        self._shelf, self._stop = shelf, stop

    @contextmanager
    def lent(self, backend: BackendT, who: str, warn: Callable[[str], None]) -> Generator[BackendT]:
        """Wait for a turn with a backend equal to ``backend``."""
        self._stop.check()
        with self._shelf.lent(backend, who, warn, self._stop) as lent:
            yield lent


@contextmanager
def _refusal_logged() -> Generator[None]:
    try:
        yield
    except ThreeDISError as error:
        _log.info("refused: %s", printable(error.in_brief()))
        raise


def _check_watchers(progress: object, previews: object) -> None:
    if not callable(progress):
        raise OptionError(
            f"progress is {shown(progress)}; expected a function of (stage, done, total)",
            code="wrong-value",
            path="progress",
        )
    if previews is not None:
        check_type("previews", previews, Previews, "Previews(show, every=5)")


def _nobody(warning: str) -> None:
    """Nobody listens any more."""
