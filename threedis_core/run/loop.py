"""The one loop: layout -> depth -> regions -> pictures, with provenance."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Unpack

from threedis_core.plugin.failures import closing_named, failures_named
from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry, load_plugins
from threedis_core.plugin.result_checks import checked_regions, checked_results
from threedis_core.run.config import RunConfig, RunSettings
from threedis_core.run.depth_cache import DepthCache
from threedis_core.run.depth_stage import make_depth
from threedis_core.run.folder import RunFolder
from threedis_core.run.plan import PlannedRenderer, RunPlan, plan_run
from threedis_core.run.provenance import picture_provenance, run_record
from threedis_core.run.result import Run, RunImage, StageDepth
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions


def render(
    layout: Layout,
    *,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
    **settings: Unpack[RunSettings],
) -> Run:
    """Render a layout with one or more renderers and seeds, all from one depth map.

    Args:
        layout: What is where.
        depth: Its depth map; None: ``depth_model`` makes one.
        registry: The plugins to use; None: the installed ones.
        progress: Told about every step.
        **settings: The fields of ``RunConfig``: ``renderers`` (names, or names with their options),
            ``seeds``, ``out``, ``width`` and ``height``, ``depth_model``, ``depth_seed``,
            ``depth_cache``, ``region_refiner``, ``batch_size``.
    Raises:
        InputError: Something is wrong with what was asked, before any model is loaded.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working.
    """
    config = validate_options(RunConfig, settings, "render")
    return render_config(config, layout=layout, depth=depth, registry=registry, progress=progress)


def render_config(
    config: RunConfig,
    *,
    layout: Layout | None = None,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
) -> Run:
    """Do what ``config`` says; read the layout and the depth map that it names if none is given.

    Arguments and errors are those of ``render``.
    """
    return carry_out(plan_run(config, registry or load_plugins(), layout, depth), progress)


def carry_out(plan: RunPlan, progress: Progress = silent) -> Run:
    """Make the depth map, the regions and the pictures that ``plan`` says.

    Raises:
        InputError: A backend refuses the layout, or another run took the folder meanwhile.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working, or a file cannot be written.
    """
    started, job = datetime.now().astimezone(), _Job(plan, progress)
    with RunFolder.claimed(plan.config.out) as folder:
        with job.measure("depth"):
            made = _depth(job)
        with job.measure("regions"):
            regions = _regions(job, made.depth)
        images: list[RunImage] = []
        for planned in plan.renderers:
            with job.measure(planned.name), job.closing(planned):
                for image in _pictures(planned, job, made.depth, regions):
                    if not images:  # nothing earlier: a run that cannot start can be tried again
                        folder.write_inputs(plan.layout, made.depth, regions)
                    images.append(folder.write_picture(image))
        # A renderer may say the same with every picture.
        told = (line for image in images for line in image.warnings)
        warnings = tuple(dict.fromkeys((*plan.warnings, *made.warnings, *told, *job.warnings)))
        record = run_record(plan, made, images, job.seconds, warnings, started)
        folder.write_record(record)
    return Run(plan.layout, made.depth, regions, tuple(images), warnings, record, plan.config.out)


@dataclass(frozen=True, eq=False)
class _Job:
    """A run at work: its plan, and what it notes on the way.

    Args:
        plan: What to do.
        progress: Told about every step.
        seconds: Wall-clock time of each part so far.
        warnings: One line each.
    """

    plan: RunPlan
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    warnings: list[str] = field(default_factory=list[str])

    @contextmanager
    def measure(self, part: str) -> Generator[None]:
        """Note how long the block takes."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(perf_counter() - start, 3)

    @contextmanager
    def closing(self, planned: PlannedRenderer) -> Generator[None]:
        """Free a renderer's model in the end; that it cannot be freed loses no picture."""
        with closing_named(planned.backend, f"renderer '{planned.name}'", self.warnings.append):
            yield


def _depth(job: _Job) -> StageDepth:
    """The run's one depth map, rounded to what ``depth.png`` holds.

    The rounding makes the run folder enough to render the same pictures again.
    """
    plan = job.plan
    if isinstance(plan.depth, DepthMap):
        return StageDepth(plan.depth.rounded())
    cache = DepthCache.default() if plan.config.depth_cache else None
    return make_depth(plan.depth, plan.layout, plan.config.depth_seed, cache, job.progress)


def _regions(job: _Job, depth: DepthMap) -> Regions:
    refiner, who = job.plan.refiner, f"region refiner '{job.plan.config.region_refiner.name}'"
    with closing_named(refiner, who, job.warnings.append), failures_named(who):
        return checked_regions(refiner.refine(job.plan.layout, depth), job.plan.layout)


def _pictures(
    planned: PlannedRenderer, job: _Job, depth: DepthMap, regions: Regions
) -> Iterator[RunImage]:
    """Render all seeds of one renderer, batch by batch."""
    plan, (width, height) = job.plan, planned.size
    seeds, batch = plan.config.seeds, plan.config.batch_size
    for start in range(0, len(seeds), batch):
        requests = [
            RenderRequest(plan.layout, depth, regions, seed, width, height)
            for seed in seeds[start : start + batch]
        ]
        for request, result in zip(requests, _batch(planned, requests, job), strict=True):
            provenance = picture_provenance(plan, planned, request, result)
            warnings = tuple(result.warnings)
            yield RunImage(planned.name, request.seed, result.image, provenance, warnings)


def _batch(
    planned: PlannedRenderer, requests: list[RenderRequest], job: _Job
) -> list[RenderResult]:
    """Render one batch; whether it can serve the requests, the renderer itself says."""

    def named_progress(stage: str, done: int, total: int) -> None:
        job.progress(f"{planned.name}: {stage}", done, total)

    with failures_named(f"renderer '{planned.name}'"):
        return checked_results(planned.backend.render(requests, named_progress), requests)
