"""The third stage of a run: the pictures of one renderer, batch by batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from PIL import Image

from threedis_core.errors import RenderError
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import RenderBackend, RenderRequest
from threedis_core.plugin.progress import NamedPreviews, Progress, Watched, named
from threedis_core.plugin.result_checks import checked_results
from threedis_core.run.config import Control, RunConfig
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.record.provenance import Origin, picture_provenance
from threedis_core.run.result import Preview, Previews, RunImage
from threedis_core.run.stages.lost_instances import LostInstances
from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule

_log = logging.getLogger("threedis_core.run")


def render_batch(
    origin: Origin,
    planned: PlannedRenderer,
    requests: Sequence[RenderRequest],
    progress: Watched,
    backend: RenderBackend,
    previews: Previews | None = None,
) -> list[RunImage]:
    """Render requests together; the renderer says itself whether it can serve them.

    Args:
        origin: What the pictures' provenance tells of all of them.
        planned: The renderer.
        requests: What to render; see ``make_requests``.
        progress: Told about every step.
        backend: The renderer itself, or an equal one.
        previews: Who looks at pictures in the making, if anybody does.
    Raises:
        InputError: The renderer refuses a request.
        WeightsError: Its model is missing or unreadable.
        RenderError: It failed, or returned what is no picture of the request's size.
    """
    told, lost = _told(progress, planned.name, requests, previews), LostInstances()
    with failures_named(f"renderer '{planned.name}'", progress=progress):
        made = backend.render(requests, told)
        results = [
            replace(
                result,
                warnings=(*result.warnings, *lost.lines(planned.name, request, result.image)),
            )
            for request, result in zip(requests, checked_results(made, requests), strict=True)
        ]
    return [
        RunImage(
            planned.name,
            request.seed,
            result.image,
            picture_provenance(origin, planned, request, result),
            tuple(result.warnings),
            control="on" if request.control is None else "none",
        )
        for request, result in zip(requests, results, strict=True)
    ]


def in_parts(
    render: Callable[[Sequence[RenderRequest]], list[RunImage]], requests: Sequence[RenderRequest]
) -> Generator[list[RunImage]]:
    """Render requests together, or half of them at a time where the memory is too small for all.

    Yields pictures as soon as they are finished, so that they are not lost if others fail. Those of
    a smaller batch say so: they are rounded otherwise.

    Args:
        render: Renders some together.
        requests: All of them.
    Raises:
        RenderError: The memory is too small for one picture. What else ``render`` raises comes out
            as it is.
    """
    waiting = [requests]
    while waiting:
        some = waiting.pop()
        try:
            made = render(some)
        except RenderError as error:
            if error.code != "out-of-memory" or len(some) == 1:
                raise
            middle = (len(some) + 1) // 2
            waiting += [some[middle:], some[:middle]]
            _log.warning("the memory is too small for %d pictures at once", len(some))
            continue  # which lets go of the error, and of what its frames hold
        whole = len(some) == len(requests)
        yield made if whole else [_marked(image, len(some), len(requests)) for image in made]


def _marked(image: RunImage, count: int, asked: int) -> RunImage:
    """A picture that says that it comes from a smaller batch."""
    told = (
        f"the memory is too small for {asked} pictures at once: {count} at a time were rendered, "
        "which rounds otherwise; a smaller batch_size does the same at once"
    )
    warnings = (*image.warnings, told)
    provenance = {**image.provenance, "warnings": list(warnings)}
    return replace(image, warnings=warnings, provenance=provenance)


def batches(config: RunConfig) -> Iterator[tuple[Control, tuple[int, ...]]]:
    """What a renderer works on at once: a control, and the seeds of its pictures."""
    most = config.batch_size
    for control in config.controls:
        for start in range(0, len(config.seeds), most):
            yield control, config.seeds[start : start + most]


def make_requests(
    plan: RunPlan,
    planned: PlannedRenderer,
    depth: DepthMap,
    regions: Regions,
    control: Control,
    seeds: Sequence[int],
) -> list[RenderRequest]:
    """What a renderer is asked for in one batch: a picture for each of ``seeds``."""
    return [
        RenderRequest(
            plan.layout,
            depth,
            regions,
            seed,
            *planned.size,
            steps=plan.config.steps,
            guidance=plan.config.guidance,
            control=None if control == "on" else ControlSchedule(),
        )
        for seed in seeds
    ]


def _told(
    progress: Watched, name: str, requests: Sequence[RenderRequest], previews: Previews | None
) -> Progress:
    """What a renderer is to tell how far it is, and to show previews if somebody looks at them."""
    if previews is None or (on_preview := previews.show) is None:
        return named(progress, name)

    def show(index: int, picture: Image.Image) -> None:
        progress.call(on_preview, Preview(name, requests[index].seed, picture))

    return NamedPreviews(progress, name, previews.every, show)
