"""Whose a pixel is: instances that claim the same pixels, told apart by depth and by order.

N = number of instances; H, W = height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threedis_core.refiners.depth_behind import Depth
from threedis_core.values.layout import Box
from threedis_core.values.regions import PixelMask, Regions

LEAST_SPREAD = 0.01
"""Of an instance's depth; instances whose depths differ by less are told apart by order alone."""
LEAST_SHARE = 0.1
"""Of its box that an instance covers; what covers less is no more than a trace of it."""
CONTAINED = 0.95
"""A box with this share of its area in a larger one has that one's instance behind it."""

Owner = NDArray[np.int32]
"""The instance that each pixel belongs to, -1 for none; shape (H, W)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An instance, and the pixels that may be its own.

    Args:
        pixels: Those of its box that stand out, or its mask; shape (H, W). None, if too little is
            found of it.
        level: Their depth; its box's, if there are none.
        spread: The standard deviation of that.
        order: The layout's ``depth_order``.
        box: The layout's box.
    """

    pixels: PixelMask
    level: float
    spread: float
    order: int | None
    box: Box

    def unlikeness(self, depth: Depth) -> NDArray[np.float64]:
        """How badly each of some depths fits the instance: a negative log-likelihood."""
        return ((depth - self.level) / self.spread) ** 2 / 2 + np.log(self.spread)


def contains(outer: Box, inner: Box) -> bool:
    """True if ``inner`` lies in ``outer``: that one's instance is what is behind it."""
    width = min(outer.x1, inner.x1) - max(outer.x0, inner.x0)
    height = min(outer.y1, inner.y1) - max(outer.y0, inner.y0)
    shared = max(width, 0.0) * max(height, 0.0)
    return outer.area > inner.area and shared >= CONTAINED * inner.area


def owners(candidates: Sequence[Candidate], depth: Depth) -> Owner:
    """Which of the candidates each pixel belongs to.

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


def fill_in(owner: Owner, candidates: Sequence[Candidate], given: Regions) -> Owner:
    """Give each instance that owns nothing what is left of its box.

    That is what nobody owns. If it is too little, the instance also takes what those behind it
    own: those of a greater order, or, where not both have one, those whose boxes contain its own.

    Args:
        owner: At the size of ``given``.
        candidates: The instances.
        given: What the layout says itself. Instances that have a mask there neither lose nor get
            anything.
    """
    owner = owner.copy()
    for index, mask in enumerate(given.masks):
        if mask is not None:
            owner[mask & (owner < 0)] = index
    for index in _near_to_far(candidates):
        if given.masks[index] is not None or (owner == index).any():
            continue
        box = given.pixels(index, *owner.shape)
        free = box & (owner < 0)
        if free.sum() < LEAST_SHARE * box.sum():
            behind = [i for i, it in enumerate(candidates) if _behind(it, candidates[index])]
            free |= box & np.isin(owner, behind)
        owner[free] = index
    return owner


def owned_regions(owner: Owner, given: Regions) -> Regions:
    """The regions that instances own: their masks as given, and boxes of which all is theirs."""
    masks = list(given.masks)
    for index, mask in enumerate(masks):
        mine = owner == index
        whole = mask is not None or np.array_equal(mine, given.pixels(index, *owner.shape))
        if mine.any() and not whole:
            masks[index] = mine
    return Regions(given.boxes, tuple(masks), given.height, given.width)


def _behind(one: Candidate, other: Candidate) -> bool:
    """True if ``one`` is known to be behind ``other``: by the layout's order, else by its box."""
    if one.order is None or other.order is None or one.order == other.order:
        return contains(one.box, other.box)
    return one.order > other.order


def _near_to_far(candidates: Sequence[Candidate]) -> list[int]:
    """The candidates' places from near to far: by depth, those with an order among them by it."""
    by_depth = sorted(range(len(candidates)), key=lambda index: -candidates[index].level)
    ordered = [index for index in by_depth if candidates[index].order is not None]
    in_order = iter(sorted(ordered, key=lambda index: candidates[index].order or 0))
    return [index if candidates[index].order is None else next(in_order) for index in by_depth]
