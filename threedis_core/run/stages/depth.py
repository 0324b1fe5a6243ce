"""The first stage of a run: the best of some depth maps, made by a model or found in the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from threedis_core.errors import DepthError
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Watched, named
from threedis_core.plugin.request_checks import MAX_SEED
from threedis_core.plugin.result_checks import checked_depth
from threedis_core.presence.measure import presence_scores
from threedis_core.presence.words import MADE, OTHER_MAP, missing_instances, rank
from threedis_core.run.depth_plan import PlannedDepthModel
from threedis_core.run.lending import Lender
from threedis_core.run.record.versions import versions_with
from threedis_core.run.result import DepthTry, StageDepth
from threedis_core.run.stages.depth_cache import DepthCache, depth_key
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

_log = logging.getLogger("threedis_core.run")

STRIDE = 1_000_003
"""From one try's seed to the next: far enough that neighbouring seeds share no try."""


def try_seeds(seed: int, tries: int) -> list[int]:
    """The seeds of all tries; the first is ``seed`` itself."""
    return [(seed + STRIDE * number) % (MAX_SEED + 1) for number in range(tries)]


def make_depth(
    source: DepthMap | PlannedDepthModel,
    layout: Layout,
    seed: int,
    use_cache: bool,
    progress: Watched,
    lender: Lender,
) -> StageDepth:
    """The depth map of ``layout``: as given, or the best of those found in the cache or made now.

    It is rounded to the 16 bits of its file, so that the file makes the same pictures again. A
    cache that does not work costs time and a warning, nothing else. What of the layout is not in
    the map is a warning.

    Args:
        source: The map, or the depth model, the map's size and how many to make.
        layout: What is where.
        seed: The model's seed; see ``try_seeds``.
        use_cache: Look into the cache, and keep new maps in it.
        progress: Told about every step.
        lender: Where the model comes from.
    Raises:
        InputError: The model cannot serve the layout.
        WeightsError: The model is missing or unreadable.
        RenderError: The model failed.
    """
    if isinstance(source, DepthMap):
        depth = source.rounded()
        presence = presence_scores(layout, depth)
        warnings = missing_instances(layout, presence, OTHER_MAP)
        return StageDepth(depth, None, warnings, presence)
    told: list[str] = []
    seeds = try_seeds(seed, source.tries)
    requests = [DepthRequest(layout, one, *source.size) for one in seeds]
    cache = _Cache(source, DepthCache.default() if use_cache else None, told)
    found = {number: depth for number, one in enumerate(requests) if (depth := cache.load(one))}
    for number in found:
        _log.info("depth map of seed %d: found in the cache", seeds[number])
    missing = [number for number in range(len(requests)) if number not in found]
    if missing:
        asked = [requests[number] for number in missing]
        made = _generate(source, asked, progress, lender, told)
        cache.store(dict(zip(missing, made, strict=True)), requests)
        found |= dict(zip(missing, made, strict=True))
    tries = tuple(
        DepthTry(one, found[number], presence_scores(layout, found[number]))
        for number, one in enumerate(seeds)
    )
    best = max(tries, key=lambda one: rank(one.presence))
    told += missing_instances(layout, best.presence, MADE)
    return StageDepth(best.depth, not missing, tuple(told), best.presence, tries, best.seed)


class _Cache:
    """The depth cache, for one depth model; what is wrong with it is told and stops nothing."""

    def __init__(
        self, planned: PlannedDepthModel, cache: DepthCache | None, told: list[str]
    ) -> None:
        self._planned, self._cache, self._told = planned, cache, told
        self._versions = versions_with(planned.sources) if cache else {}

    def load(self, request: DepthRequest) -> DepthMap | None:
        if self._cache is None:
            return None
        try:
            return self._cache.load(self._key(request), self._planned.size)
        except DepthError as error:
            self._told.append(
                f"a depth map in the cache cannot be used and is made again ({error})"
            )
            return None

    def store(self, made: Mapping[int, DepthMap], requests: Sequence[DepthRequest]) -> None:
        """Keep the maps of these ``requests``, by their numbers."""
        if self._cache is None:
            return
        try:
            for number, depth in made.items():
                self._cache.store(self._key(requests[number]), depth)
        except DepthError as error:
            self._told.append(f"the depth map is not kept for the next run ({error})")

    def _key(self, request: DepthRequest) -> str:
        planned = self._planned
        return depth_key(planned.name, planned.model.options, request, self._versions)


def _generate(
    planned: PlannedDepthModel,
    requests: Sequence[DepthRequest],
    progress: Watched,
    lender: Lender,
    told: list[str],
) -> list[DepthMap]:
    """One depth map for each request, rounded to the 16 bits of its file."""
    who = f"depth model '{planned.name}'"
    lent = lender.lent(planned.model, who, told.append)
    with lent as model, planned.failures_named(progress):
        made = checked_depth(model.generate(requests, named(progress, planned.name)), requests)
        return [depth.rounded() for depth in made]
