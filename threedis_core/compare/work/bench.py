"""Where a worker works: it keeps the backends that its task needs, and makes files' contents.

Work is a function from a task to bytes: it writes nothing, so that workers may be anywhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from threedis_core.compare.plan.models import PlannedSystem
from threedis_core.compare.plan.systems import packages_of
from threedis_core.compare.scoring.batches import detect_batch, score_batch
from threedis_core.compare.work.failing import failure_of
from threedis_core.compare.work.measured import Clock, forget_peak, peak_memory
from threedis_core.compare.work.tasks import (
    DepthTask,
    JudgeTask,
    Outcome,
    RenderTask,
    Setting,
    Task,
)
from threedis_core.files.png import png_bytes
from threedis_core.plugin.interfaces import Backend, RegionRefiner, RenderBackend, RenderRequest
from threedis_core.plugin.judging.interfaces import InstanceDetector, Metric
from threedis_core.plugin.progress import Progress, Watched, silent
from threedis_core.plugin.registry import Chosen, PluginRegistry
from threedis_core.run.config import Choice
from threedis_core.run.depth_plan import plan_depth_model
from threedis_core.run.engine.engine import Engine
from threedis_core.run.folder import PROVENANCE
from threedis_core.run.lending import Lender, Sharing, share_a_load
from threedis_core.run.plan import PlannedRenderer
from threedis_core.run.record.portable_paths import at_home
from threedis_core.run.record.provenance import Origin
from threedis_core.run.stages.depth import make_depth
from threedis_core.run.stages.pictures import render_batch
from threedis_core.run.stages.regions import make_regions
from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule

_log = logging.getLogger("threedis_core.compare")
COMPARISON = "comparison"
"""What a picture's provenance tells of its place in the plan, by this name."""


@dataclass(frozen=True, eq=False)
class ChosenBackends:
    """The backends of a system, as this worker has them."""

    renderer: Chosen[RenderBackend]
    refiner: Chosen[RegionRefiner]


class Bench:
    """Does one task after another. Between tasks that need the same backends these stay loaded.

    Args:
        setting: What all tasks have in common.
        registry: The plugins.
        progress: Told about every step; what it raises ends the work and comes out as it is.
    """

    def __init__(
        self, setting: Setting, registry: PluginRegistry, progress: Progress = silent
    ) -> None:
        self._setting = setting
        self._progress = progress
        self._engine = Engine(memory_limit=0, registry=registry)
        self._registry = registry
        self._stack = ExitStack()
        self._held: list[Backend] = []
        self._lender: Lender = self._engine.lender()
        self._systems: dict[str, ChosenBackends] = {}

    def do(self, task: Task) -> Outcome:
        """Do a task; whatever a backend raises becomes a failure."""
        watched = Watched(self._progress)
        clock, told = Clock(watched), list[str]()
        forget_peak()
        try:
            made = self._made(task, clock, told)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything
            watched.check()
            self._release()
            _log.info("%s: failed", task.stage, exc_info=error)
            failure = failure_of(error)
            return Outcome(failure=failure, seconds=clock.seconds, memory=peak_memory())
        return Outcome(
            made, None, clock.seconds, peak_memory(), warnings=tuple(dict.fromkeys(told))
        )

    def close(self) -> None:
        """Free all models."""
        self._release()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _made(self, task: Task, clock: Clock, told: list[str]) -> dict[str, bytes]:
        match task:
            case DepthTask():
                return self._depth(task, clock, told)
            case RenderTask():
                return self._pictures(task, clock, told)
            case JudgeTask():
                return self._judged(task, clock, told)

    def _depth(self, task: DepthTask, clock: Clock, told: list[str]) -> dict[str, bytes]:
        options = at_home(task.model.options, self._setting.folder, missing=True)
        choice = Choice(name=task.model.name, options=options)
        planned = plan_depth_model(choice, task.size, self._registry, task.model.tries)
        with clock.timed("depth"):
            lender = self._lend([planned.model])
            watched = Watched(clock)
            made = make_depth(planned, task.layout, task.seed, False, watched, lender)
            told += made.warnings
            return {task.key: made.depth.to_png()}

    def _pictures(self, task: RenderTask, clock: Clock, told: list[str]) -> dict[str, bytes]:
        system = task.system
        chosen = self._chosen(system)
        refiner, renderer = chosen.refiner.backend, chosen.renderer.backend
        lender = self._lend([refiner, renderer])
        with clock.timed("regions"):
            requests = self._requests(task, refiner, lender, told)
        sources = (*chosen.renderer.sources, *chosen.refiner.sources)
        origin = Origin(self._setting.folder, packages_of(sources), self._setting.versions)
        planned = PlannedRenderer(
            system.name, renderer, chosen.renderer.sources[-1], task.jobs[0].size
        )
        lending = lender.lent(renderer, f"renderer '{system.name}'", told.append)
        with lending as lent, clock.timed("rendering"):
            images = render_batch(origin, planned, requests, Watched(clock), lent)
        with clock.timed("encoding"):
            made: dict[str, bytes] = {}
            for job, image in zip(task.jobs, images, strict=True):
                told += image.warnings
                place = {"job": job.key, "batch": task.batch}
                place |= {"pictures": len(task.jobs), "planned": task.planned}
                place |= {"threads": self._setting.threads}
                provenance = {**image.provenance, COMPARISON: place}
                made[job.key] = png_bytes(image.image, {PROVENANCE: json.dumps(provenance)})
            return made

    def _requests(
        self, task: RenderTask, refiner: RegionRefiner, lender: Lender, told: list[str]
    ) -> list[RenderRequest]:
        """What the renderer is asked for; pictures of one depth map share their regions."""
        maps: dict[tuple[str, bytes], tuple[DepthMap, Regions]] = {}
        requests: list[RenderRequest] = []
        for job in task.jobs:
            known = job.place, job.depth
            if known not in maps:
                depth = DepthMap.from_png(job.depth)
                name = task.system.region_refiner
                regions = make_regions(refiner, name, job.layout, depth, told.append, lender)
                maps[known] = depth, regions
            depth, regions = maps[known]
            requests.append(
                RenderRequest(
                    job.layout,
                    depth,
                    regions,
                    job.seed,
                    *job.size,
                    steps=task.steps,
                    guidance=task.guidance,
                    control=None if task.system.control == "on" else ControlSchedule(),
                )
            )
        return requests

    def _judged(self, task: JudgeTask, clock: Clock, told: list[str]) -> dict[str, bytes]:
        options = at_home(dict(task.options), self._setting.folder, missing=True)
        if task.kind == "detect":
            detector = self._registry.choose(InstanceDetector, task.name, options).backend
            lending = self._lend([detector]).lent(detector, task.stage, told.append)
            with lending as lent, clock.timed("detecting"):
                made = detect_batch(task.name, lent, task.pictures, clock)
        else:
            metric = self._registry.choose(Metric, task.name, options).backend
            lending = self._lend([metric]).lent(metric, task.stage, told.append)
            with lending as lent, clock.timed("scoring"):
                made = score_batch(task.name, lent, task.pictures, clock)
        return {one.job: content for one, content in zip(task.pictures, made, strict=True)}

    def _chosen(self, system: PlannedSystem) -> ChosenBackends:
        if system.name not in self._systems:
            folder = self._setting.folder
            renderer = self._registry.choose(
                RenderBackend, str(system.renderer), at_home(system.options, folder, missing=True)
            )
            refiner = self._registry.choose(
                RegionRefiner,
                system.region_refiner,
                at_home(system.refiner_options, folder, missing=True),
            )
            self._systems[system.name] = ChosenBackends(renderer, refiner)
        return self._systems[system.name]

    def _lend(self, needed: Sequence[Backend]) -> Lender:
        """A lender that keeps what it lends until other backends are needed."""
        if not all(any(share_a_load(one, held) for held in self._held) for one in needed):
            self._release()
            self._held = list(needed)
            self._lender = self._stack.enter_context(Sharing.of(self._engine.lender()))
        return self._lender

    def _release(self) -> None:
        """Give back all backends, so that their models leave the memory."""
        self._stack.close()
        self._held = []
