"""Whose a pixel is: instances that claim the same pixels, told apart by depth and by order.

N = number of instances; H, W = height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threedis_core.refiners.crowd import Corners, containing, corners_of
from threedis_core.refiners.depth_behind import Depth
from threedis_core.values.box_rounding import Part, box_pixels
from threedis_core.values.layout import Box
from threedis_core.values.regions import PixelMask, Regions

LEAST_SPREAD = 0.01
"""Of an instance's depth; instances whose depths differ by less are told apart by order alone."""
LEAST_SHARE = 0.1
"""Of its box that an instance covers; what covers less is no more than a trace of it."""
NOBODY = -1
ROWS_AT_ONCE = 256

Owner = NDArray[np.int32]
"""The instance that each pixel belongs to, -1 for none; shape (H, W)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An instance, and the pixels that may be its own.

    Args:
        part: The rectangle that all of them are in.
        pixels: Those of its box that stand out, or its mask; shape of the part. None is set, if
            too little is found of it.
        level: Their depth; its box's, if there are none.
        spread: The standard deviation of that.
        order: The layout's ``depth_order``.
        box: The layout's box.
    """

    part: Part
    pixels: PixelMask
    level: float
    spread: float
    order: int | None
    box: Box


def owners(candidates: Sequence[Candidate], depth: Depth) -> Owner:
    """Which of the candidates each pixel belongs to.

    From far to near, each takes what nobody has and what it has a better claim on.
    """
    owner = np.full(depth.shape, NOBODY, dtype=np.int32)
    likeness = _Likeness(candidates)
    for index in reversed(_near_to_far(candidates)):
        mine = candidates[index]
        for start in range(0, len(mine.pixels), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            pixels, held = mine.pixels[rows], owner[mine.part][rows]
            likeness.take(index, held, pixels, depth[mine.part][rows])
    return owner


class _Likeness:
    """How well depths fit each of the candidates, taken as normal distributions."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._levels = np.array([one.level for one in candidates], dtype=np.float64)
        self._spreads = np.array([one.spread for one in candidates], dtype=np.float32)
        self._logarithms = np.array([np.log(one.spread) for one in candidates], dtype=np.float64)

    def take(self, index: int, owner: Owner, pixels: PixelMask, depth: Depth) -> None:
        """Give a candidate those of its pixels that it has a better claim on than who has them.

        Args:
            index: The candidate.
            owner: A part of the picture; written to.
            pixels: The candidate's pixels in it.
            depth: Its depth.
        """
        held, values = owner[pixels], depth[pixels]
        # Depth decides only against those that are clearly farther: of two at one depth, the one
        # that comes later is in front by the layout's order, or by a difference within the noise.
        clearly = self._levels[index] - self._levels[held] >= LEAST_SPREAD
        rivals = np.flatnonzero((held != NOBODY) & clearly)
        mine = self._unlikeness(np.full(len(rivals), index), values[rivals])
        keeps = rivals[mine > self._unlikeness(held[rivals], values[rivals])]
        taken = np.full(len(held), index, dtype=np.int32)
        taken[keeps] = held[keeps]
        owner[pixels] = taken

    def _unlikeness(self, which: NDArray[np.integer], depth: Depth) -> NDArray[np.float64]:
        """How badly each depth fits the candidate beside it: a negative log-likelihood."""
        away = (depth - self._levels.astype(np.float32)[which]) / self._spreads[which]
        return away**2 / 2 + self._logarithms[which]


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
            owner[mask & (owner == NOBODY)] = index
    owned = _counts(owner, len(candidates))
    corners = corners_of([one.box for one in candidates])
    for index in _near_to_far(candidates):
        if given.masks[index] is not None or owned[index] > 0:
            continue
        box = owner[box_pixels(candidates[index].box, given.height, given.width)]
        free = box == NOBODY
        if free.sum() < LEAST_SHARE * box.size:
            free |= np.isin(box, np.flatnonzero(_behind(candidates, corners, index)))
        # Whoever loses the last pixel here may come later in this loop, and then looks again.
        owned -= _counts(box[free], len(candidates))
        owned[index] += free.sum()
        box[free] = index
    return owner


def owned_regions(owner: Owner, given: Regions) -> Regions:
    """The regions that instances own: their masks as given, and boxes of which all is theirs."""
    masks = list(given.masks)
    owned = _counts(owner, len(masks))
    for index, mask in enumerate(masks):
        box = owner[box_pixels(given.boxes[index], *owner.shape)]
        whole = mask is not None or (owned[index] == box.size and bool((box == index).all()))
        if owned[index] > 0 and not whole:
            mine = owner == index
            mine.setflags(write=False)  # so that it is kept, not copied
            masks[index] = mine
    return Regions(given.boxes, tuple(masks), given.height, given.width)


def _counts(owner: Owner, count: int) -> NDArray[np.intp]:
    """How many pixels each instance owns, shape (N,)."""
    return np.bincount(owner[owner != NOBODY], minlength=count)


def _behind(candidates: Sequence[Candidate], corners: Corners, index: int) -> NDArray[np.bool_]:
    """Who is known to be behind an instance, by the layout's order, else by its box; shape (N,)."""
    behind = containing(corners, corners[index])
    order = candidates[index].order
    for place, other in enumerate(candidates):
        if order is not None and other.order is not None and other.order != order:
            behind[place] = other.order > order
    return behind


def _near_to_far(candidates: Sequence[Candidate]) -> list[int]:
    """The candidates' places from near to far: by depth, those with an order among them by it."""
    by_depth = sorted(range(len(candidates)), key=lambda index: -candidates[index].level)
    ordered = [index for index in by_depth if candidates[index].order is not None]
    # The places of those with an order stay theirs; only who of them stands where is by the order.
    in_order = iter(sorted(ordered, key=lambda index: candidates[index].order or 0))
    return [index if candidates[index].order is None else next(in_order) for index in by_depth]
