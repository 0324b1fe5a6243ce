"""The first stage of a run: one depth map, made by a model or found in the cache."""

from __future__ import annotations

from threedis_core.errors import DepthError
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Watched
from threedis_core.plugin.result_checks import checked_depth
from threedis_core.run.depth_plan import PlannedDepthModel
from threedis_core.run.lending import Lender
from threedis_core.run.record.versions import versions_with
from threedis_core.run.result import StageDepth
from threedis_core.run.stages.depth_cache import DepthCache, depth_key
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


def make_depth(
    source: DepthMap | PlannedDepthModel,
    layout: Layout,
    seed: int,
    use_cache: bool,
    progress: Watched,
    lender: Lender,
) -> StageDepth:
    """The depth map of ``layout``: as given, found in the cache, or made now and kept there.

    It is rounded to the 16 bits of its file, so that the file makes the same pictures again. A
    cache that does not work costs time and a warning, nothing else.

    Args:
        source: The map, or the depth model and the map's size.
        layout: What is where.
        seed: The model's seed.
        use_cache: Look into the cache, and keep new maps in it.
        progress: Told about every step.
        lender: Where the model comes from.
    Raises:
        InputError: The model cannot serve the layout.
        WeightsError: The model is missing or unreadable.
        RenderError: The model failed.
    """
    if isinstance(source, DepthMap):
        return StageDepth(source.rounded())
    request = DepthRequest(layout, seed, *source.size)
    warnings: list[str] = []
    cache, key = DepthCache.default() if use_cache else None, ""
    if cache is not None:
        versions = versions_with(source.sources)
        key = depth_key(source.name, source.model.options, request, versions)
        try:
            if found := cache.load(key, source.size):
                return StageDepth(found, cached=True)
        except DepthError as error:
            warnings.append(f"a depth map in the cache cannot be used and is made again ({error})")
    made = _generate(source, request, progress, lender, warnings)
    if cache is not None:
        try:
            cache.store(key, made)
        except DepthError as error:
            warnings.append(f"the depth map is not kept for the next run ({error})")
    return StageDepth(made, cached=False, warnings=tuple(warnings))


def _generate(
    planned: PlannedDepthModel,
    request: DepthRequest,
    progress: Watched,
    lender: Lender,
    warnings: list[str],
) -> DepthMap:
    """One depth map, rounded to the 16 bits of its file."""
    who = f"depth model '{planned.name}'"
    lent = lender.lent(planned.model, who, warnings.append)
    with lent as model, planned.failures_named(progress):
        (depth,) = checked_depth(model.generate([request], progress), [request])
        return depth.rounded()
