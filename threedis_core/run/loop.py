"""The one loop: layout -> depth -> regions -> pictures, with provenance."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from threedis_core.errors import RenderError
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import RegionRefiner, RenderRequest, RenderResult
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry, load_plugins
from threedis_core.plugin.request_checks import check_request
from threedis_core.run.config import Choice, RunConfig
from threedis_core.run.depth_cache import DepthCache
from threedis_core.run.depth_stage import make_depth
from threedis_core.run.folder import check_run_folder, write_inputs, write_json, write_png
from threedis_core.run.plan import (
    PlannedDepthModel,
    PlannedRenderer,
    plan_run,
    with_default_renderer,
)
from threedis_core.run.provenance import picture_provenance, run_record, software_versions
from threedis_core.run.result import Run, RunImage, StageDepth
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions


def render(
    layout: Layout,
    *,
    depth: DepthMap | None = None,
    depth_model: str | Choice | None = None,
    depth_seed: int = 0,
    depth_cache: bool = True,
    region_refiner: str | Choice = "boxes",
    renderers: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    seeds: Sequence[int] = (0,),
    width: int | None = None,
    height: int | None = None,
    batch_size: int = 4,
    out: str | Path | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
) -> Run:
    """Render a layout with one or more renderers and seeds, all from one depth map.

    Args:
        layout: What is where.
        depth: Its depth map; None: ``depth_model`` makes one.
        depth_model: Depth model by name, or ``Choice(name=..., options=...)``.
        depth_seed: Seed of the depth model.
        depth_cache: Use a depth map that was made before from the same, and keep new ones.
        region_refiner: Region refiner by name, or a ``Choice``.
        renderers: Names, or names with their options; none: ``pocket-sd15`` if installed.
        seeds: One picture per renderer and seed.
        width: Picture width in pixels; None: the layout's, or the renderer's default area in
            the depth map's proportions.
        height: Picture height in pixels.
        batch_size: Most pictures a renderer works on at once.
        out: New or empty folder for the run's files; None: nothing is written.
        registry: The plugins to use; None: the installed ones.
        progress: Told about every step.
    Raises:
        InputError: Something is wrong with what was asked, before any model is loaded.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working.
    """
    asked = {
        "depth_model": depth_model,
        "depth_seed": depth_seed,
        "depth_cache": depth_cache,
        "region_refiner": region_refiner,
        "renderers": renderers,
        "seeds": tuple(seeds),
        "width": width,
        "height": height,
        "batch_size": batch_size,
        "out": out,
    }
    config = validate_options(RunConfig, asked, "render")
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
    started, timings = datetime.now().astimezone(), Timings()
    registry = registry or load_plugins()
    if config.out is not None:
        check_run_folder(config.out)
    layout = layout or config.read_layout()
    depth = depth or config.read_depth()
    config = with_default_renderer(config, registry)
    plan = plan_run(config, layout, depth, registry)
    with timings.measure("depth"):
        made = _depth(plan.depth, layout, config, progress)
    with timings.measure("regions"):
        regions = _regions(plan.refiner, config.region_refiner.name, layout, made.depth)
    job = _Job(config, layout, made.depth, regions, software_versions(plan.sources))
    images: list[RunImage] = []
    for planned in plan.renderers:
        with timings.measure(planned.name), closing(planned.backend):
            for image in _pictures(planned, job, progress):
                images.append(_store(image, job, is_first=not images))
    # A renderer may say the same with every picture.
    found = (*plan.warnings, *made.warnings, *(line for image in images for line in image.warnings))
    warnings = tuple(dict.fromkeys(found))
    record = run_record(
        config, plan, made, images, job.versions, timings.seconds, warnings, started
    )
    if config.out is not None:
        write_json(config.out / "run.json", record)
    return Run(layout, made.depth, regions, tuple(images), warnings, record, config.out)


@dataclass(frozen=True, eq=False)
class _Job:
    """What all renderers of a run share."""

    config: RunConfig
    layout: Layout
    depth: DepthMap
    regions: Regions
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Timings:
    """Wall-clock seconds of each part of a run."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def measure(self, part: str) -> Generator[None]:
        """Note how long the block takes."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(perf_counter() - start, 3)


def _depth(
    source: DepthMap | PlannedDepthModel, layout: Layout, config: RunConfig, progress: Progress
) -> StageDepth:
    """The run's one depth map, rounded to what ``depth.png`` holds.

    The rounding makes the run folder enough to render the same pictures again.
    """
    if isinstance(source, DepthMap):
        return StageDepth(source.rounded())
    cache = DepthCache.default() if config.depth_cache else None
    return make_depth(source, layout, config.depth_seed, cache, progress)


def _regions(refiner: RegionRefiner, name: str, layout: Layout, depth: DepthMap) -> Regions:
    expected = len(layout.instances)
    with closing(refiner), failures_named(f"region refiner '{name}'"):
        regions = refiner.refine(layout, depth)
        if len(regions) != expected:
            raise RenderError(f"it returned {len(regions)} regions for {expected} instances")
        return regions


def _pictures(planned: PlannedRenderer, job: _Job, progress: Progress) -> Iterator[RunImage]:
    """Render all seeds of one renderer, batch by batch."""
    width, height = planned.size
    seeds, batch = job.config.seeds, job.config.batch_size
    for start in range(0, len(seeds), batch):
        requests = [
            RenderRequest(job.layout, job.depth, job.regions, seed, width, height)
            for seed in seeds[start : start + batch]
        ]
        for request, result in zip(
            requests, _render_batch(planned, requests, progress), strict=True
        ):
            provenance = picture_provenance(planned, request, result, job.config, job.versions)
            warnings = tuple(result.warnings)
            yield RunImage(planned.name, request.seed, result.image, provenance, warnings)


def _render_batch(
    planned: PlannedRenderer, requests: list[RenderRequest], progress: Progress
) -> list[RenderResult]:
    def named_progress(stage: str, done: int, total: int) -> None:
        progress(f"{planned.name}: {stage}", done, total)

    for request in requests:
        check_request(request, planned.backend.capabilities, planned.name)
    with failures_named(f"renderer '{planned.name}'"):
        results = planned.backend.render(requests, named_progress)
        if len(results) != len(requests):
            raise RenderError(f"it returned {len(results)} pictures for {len(requests)} requests")
        for request, result in zip(requests, results, strict=True):
            if result.image.size != (request.width, request.height):
                raise RenderError(
                    f"it returned a picture of {result.image.size}; "
                    f"expected {(request.width, request.height)}"
                )
    return results


def _store(image: RunImage, job: _Job, is_first: bool) -> RunImage:
    """Write a picture if the run has a folder; the first one brings what it was made from.

    Nothing is written earlier, so that a run that could not start can be tried again.
    """
    folder = job.config.out
    if folder is None:
        return image
    if is_first:
        write_inputs(folder, job.layout, job.depth, job.regions)
    file = folder / f"{image.renderer}-seed{image.seed}.png"
    write_png(file, image.image, image.provenance)
    return replace(image, file=file)
