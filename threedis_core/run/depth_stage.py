"""The first stage of a run: one depth map, made by a model or found in the cache."""

from __future__ import annotations

from threedis_core.errors import DepthError, InputError, OptionError
from threedis_core.plugin.failures import closing_named, failures_named
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Progress
from threedis_core.plugin.result_checks import checked_depth
from threedis_core.run.depth_cache import DepthCache, depth_key
from threedis_core.run.plan import PlannedDepthModel
from threedis_core.run.result import StageDepth
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


def make_depth(
    planned: PlannedDepthModel,
    layout: Layout,
    seed: int,
    cache: DepthCache | None,
    progress: Progress,
) -> StageDepth:
    """Find the depth map of ``layout`` in the cache, or make it and keep it there.

    A cache that does not work costs time and a warning, nothing else.

    Args:
        planned: The depth model and the map's size.
        layout: What is where.
        seed: The model's seed.
        cache: Where maps are kept; None: nowhere.
        progress: Told about every step.
    Raises:
        InputError: The model cannot serve the layout.
        WeightsError: The model is missing or unreadable.
        RenderError: The model failed.
    """
    request = DepthRequest(layout, seed, *planned.size)
    warnings: list[str] = []
    if cache is None:
        made = _generate(planned, request, progress, warnings)
        return StageDepth(made, cached=False, warnings=tuple(warnings))
    key = depth_key(planned.name, planned.model.options, request, planned.versions)
    try:
        if found := cache.load(key, planned.size):
            return StageDepth(found, cached=True)
    except DepthError as error:
        warnings.append(f"a depth map in the cache cannot be used and is made again ({error})")
    made = _generate(planned, request, progress, warnings)
    try:
        cache.store(key, made)
    except DepthError as error:
        warnings.append(f"the depth map is not kept for the next run ({error})")
    return StageDepth(made, cached=False, warnings=tuple(warnings))


def _generate(
    planned: PlannedDepthModel, request: DepthRequest, progress: Progress, warnings: list[str]
) -> DepthMap:
    """One depth map, rounded to the 16 bits of its file."""
    who = f"depth model '{planned.name}'"
    try:
        with closing_named(planned.model, who, warnings.append), failures_named(who):
            (depth,) = checked_depth(planned.model.generate([request], progress), [request])
            return depth.rounded()
    except InputError as error:
        if planned.chosen:
            raise
        raise OptionError(
            "the layout has no depth map; give one with --depth FILE, or --depth-model NAME. "
            f"The default, '{planned.name}', cannot draw it: {error}"
        ) from error
