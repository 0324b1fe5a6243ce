"""The region refiner ``depth-edges``: which pixels of a box stand out in depth. No weights.

N = number of instances; H, W = height and width in pixels. Relief is how much nearer a pixel is
than what is behind the instances there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from threedis_core.backdrop import Depth, backdrop, greatest_nearby
from threedis_core.depth import DepthMap
from threedis_core.interfaces import BackendOptions, RegionRefiner
from threedis_core.layout import Box, Layout
from threedis_core.regions import Pixels, Regions

FLATTEST = 0.005
"""Of the whole range of depth: what stands out by less is noise, or a step of an 8-bit picture."""
TYPICAL = 0.9
"""The quantile of the relief in a box that counts as its instance's relief."""
LEAST_SPREAD = 0.01
"""Of an instance's depth; instances whose depths differ by less are told apart by order alone."""
NEARBY = 64
"""The picture's longer side divided by this is how far a blurred edge reaches."""
CONTAINED = 0.95
"""A box with this share of its area in a larger one has that one's instance behind it."""


class DepthEdgesOptions(BackendOptions):
    """Options of ``depth-edges``.

    Args:
        least_relief: A pixel belongs to the instance if it stands out from what is behind by this
            share of what the instance as a whole does. Lower takes more of where it touches the
            floor, higher leaves out more noise.
        edge: Where along the slope of a blurred edge the border is drawn, as a share of the
            relief nearby; 0 for depth maps with sharp edges.
    """

    least_relief: float = Field(default=0.03, ge=0, le=1)
    edge: float = Field(default=0.3, ge=0, le=1)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An instance, and the pixels that may be its own.

    Args:
        pixels: Those of its box that stand out, or its mask; shape (H, W).
        level: Their depth.
        spread: The standard deviation of that.
        order: The layout's ``depth_order``.
    """

    pixels: Pixels
    level: float
    spread: float
    order: int | None

    def unlikeness(self, depth: Depth) -> NDArray[np.float64]:
        """How badly each of some depths fits the instance: a negative log-likelihood."""
        return ((depth - self.level) / self.spread) ** 2 / 2 + np.log(self.spread)


class DepthEdges(RegionRefiner):
    """Cut each instance out of its box by depth.

    1. What is behind a box is filled in row by row from what is seen beside it, so that a floor,
       which comes nearer downwards, is not taken for a thing.
    2. In each box those pixels are kept that stand out from it.
    3. Where boxes overlap, a pixel goes to the instance whose depth it has. Of two of the same
       depth the nearer one gets it: by ``Instance.depth_order`` where the layout gives that, else
       by depth. Where the depth map contradicts the layout's order, the order wins.

    Masks of the layout stay as they are. An instance that nothing is found of keeps its box.
    """

    Options = DepthEdgesOptions
    options: DepthEdgesOptions

    def refine(self, layout: Layout, depth: DepthMap) -> Regions:
        """Regions of ``layout`` at the size of the depth map."""
        given = Regions.from_layout(layout, depth.width, depth.height)
        inside = given.pixel_masks(depth.height, depth.width).astype(np.bool_)
        crowd = inside.sum(axis=0, dtype=np.int32)
        candidates = [
            self._candidate(layout, index, inside, crowd, depth.values)
            for index in range(len(given))
        ]
        owner = _owners(candidates, depth.values)
        found = [owner == index if mask is None else mask for index, mask in enumerate(given.masks)]
        masks = tuple(mask if mask.any() else None for mask in found)
        return Regions(given.boxes, masks, depth.height, depth.width)

    def _candidate(
        self,
        layout: Layout,
        index: int,
        inside: NDArray[np.bool_],
        crowd: NDArray[np.int32],
        depth: Depth,
    ) -> _Candidate:
        """What stands out of instance ``index``.

        Args:
            layout: The layout.
            index: The instance's place in it.
            inside: Every instance's box or mask, shape (N, H, W).
            crowd: How many of them each pixel is in, shape (H, W).
            depth: Shape (H, W).
        """
        instance, pixels = layout.instances[index], inside[index]
        behind = [i for i, other in enumerate(layout.instances) if _behind(other.box, instance.box)]
        contested = crowd - inside[behind].sum(axis=0) - pixels > 0
        if instance.mask is None:
            pixels = self._standing_out(depth, pixels, contested | pixels)
        own = depth[pixels & ~contested]
        levels = own if own.size else depth[pixels]
        if not levels.size:
            return _Candidate(pixels, 0.0, 1.0, instance.depth_order)
        spread = max(float(levels.std()), LEAST_SPREAD)
        return _Candidate(pixels, float(levels.mean()), spread, instance.depth_order)

    def _standing_out(self, depth: Depth, inside: Pixels, covered: Pixels) -> Pixels:
        """The pixels ``inside`` that are nearer than what is behind all that is ``covered``."""
        if not inside.any():
            return inside
        reach = max(1, max(depth.shape) // NEARBY)
        # A box is cut off to whole pixels, and blurred edges spill over its sides.
        around = greatest_nearby(covered.astype(np.float32), reach) > 0
        relief = depth - backdrop(depth, around)
        typical = float(np.quantile(relief[inside], TYPICAL))
        least = max(self.options.least_relief * typical, FLATTEST * float(np.ptp(depth)))
        nearby = greatest_nearby(relief, reach)
        return inside & (relief > least) & (relief >= self.options.edge * nearby)


def _behind(outer: Box, inner: Box) -> bool:
    """True if the instance of ``outer`` is what is behind that of ``inner``."""
    width = min(outer.x1, inner.x1) - max(outer.x0, inner.x0)
    height = min(outer.y1, inner.y1) - max(outer.y0, inner.y0)
    shared = max(width, 0.0) * max(height, 0.0)
    return outer.area > inner.area and shared >= CONTAINED * inner.area


def _owners(candidates: Sequence[_Candidate], depth: Depth) -> NDArray[np.int32]:
    """The instance that each pixel belongs to, -1 for none; shape (H, W).

    From far to near, each takes what nobody has and what it has a better claim on.
    """
    owner = np.full(depth.shape, -1, dtype=np.int32)
    for index in reversed(_near_to_far(candidates)):
        mine = candidates[index]
        holders: list[int] = np.unique(owner[mine.pixels]).tolist()
        for holder in holders:
            at = mine.pixels & (owner == holder)
            other = mine if holder < 0 else candidates[holder]
            if mine.level - other.level >= LEAST_SPREAD:
                at[at] = mine.unlikeness(depth[at]) <= other.unlikeness(depth[at])
            owner[at] = index
    return owner


def _near_to_far(candidates: Sequence[_Candidate]) -> list[int]:
    """The candidates' places from near to far: by depth, those with an order among them by it."""
    by_depth = sorted(range(len(candidates)), key=lambda index: -candidates[index].level)
    ordered = [index for index in by_depth if candidates[index].order is not None]
    in_order = iter(sorted(ordered, key=lambda index: candidates[index].order or 0))
    return [index if candidates[index].order is None else next(in_order) for index in by_depth]
