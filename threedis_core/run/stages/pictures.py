"""The third stage of a run: the pictures of one renderer, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.plugin.progress import Progress, named
from threedis_core.plugin.result_checks import checked_results
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.record.provenance import picture_provenance
from threedis_core.run.result import RunImage
from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions


def render_pictures(
    plan: RunPlan,
    planned: PlannedRenderer,
    depth: DepthMap,
    regions: Regions,
    progress: Progress,
) -> Iterator[RunImage]:
    """Render all seeds of one renderer, in batches; it says itself whether it can serve them.

    Raises:
        InputError: The renderer refuses a request.
        WeightsError: Its model is missing or unreadable.
        RenderError: It failed, or returned what is no picture of the request's size.
    """
    seeds, most = plan.config.seeds, plan.config.batch_size
    for start in range(0, len(seeds), most):
        requests = [
            RenderRequest(plan.layout, depth, regions, seed, *planned.size)
            for seed in seeds[start : start + most]
        ]
        with failures_named(f"renderer '{planned.name}'"):
            made = planned.backend.render(requests, named(progress, planned.name))
            results = checked_results(made, requests)
        for request, result in zip(requests, results, strict=True):
            provenance = picture_provenance(plan, planned, request, result)
            warnings = tuple(result.warnings)
            yield RunImage(planned.name, request.seed, result.image, provenance, warnings)
