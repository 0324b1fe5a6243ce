"""Look for every instance in its box of the depth map: something stands out there, as large as it.

It is judged by depth alone, so it fits any depth model, and depth maps from elsewhere. It cannot
tell a cube from a cat.

N = number of instances; H, W = height and width of the depth map, made small. Relief is how much
nearer a pixel is than what is behind the instances there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threedis_core.refiners.crowd import containing, corners_of
from threedis_core.refiners.depth_behind import Depth, depth_behind
from threedis_core.values.box import Box
from threedis_core.values.box_rounding import Part, box_tokens
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import PixelMask, nearest

SEEN = 0.45
"""The least score of an instance that is there."""
LONGEST = 192
"""Pixels of the longer side at which a map is judged: boxes are large, and this takes 10 ms."""
MARGIN = 0.08
"""Share of a box's sides by which its instance may go beyond it."""
LEAST_RELIEF = 0.02
"""Share of the map's range by which a thing stands out: five levels of an 8-bit picture."""
LEVEL = 1 / 255
UPRIGHT = 0.4
"""A thing stands upright: where the floor behind it has fallen back, its relief is as much. At
least this share of it must be there."""
NOISES = 4.0
"""What stands out by less than so many standard deviations of the noise is noise."""
FILLED = 0.3
"""The share of a box that even a thin thing covers."""
LEAST_COVER = 0.08
"""The share of a row or a column of a box that a thing covers where it is."""
REACH = 0.5
"""Share of a box's sides up to which a thing is followed beyond its box."""
BEYOND = 0.3
"""The share of a row or a column beside a box that a thing covers which goes on there."""
WIDE = 0.9
"""A box of this share of the picture's width has nothing beside it to compare with: it cannot be
told from a background, which a sky is."""
HIDDEN = 0.05
"""An instance of which no more than this share is free of other boxes cannot be judged."""


def presence_scores(layout: Layout, depth: DepthMap) -> tuple[float | None, ...]:
    """How much of each instance can be found where the layout wants it, in [0, 1].

    1. What is behind the boxes is filled in row by row from what is seen beside them.
    2. Of a box those pixels are judged that are in no other box (but for one around it, whose
       instance is what is behind).
    3. A pixel stands out if its relief is more than noise, more than a fiftieth of the map's range,
       and a good part of what something upright on this floor would have.
    4. The score is the IoU of the extent of these pixels with that of all the judged ones; it is
       less if they are few or go on beyond the box, and more if much of the box is hidden, where
       the rest may be.

    Returns:
        A score for each instance, in order: SEEN or more if it is there; None if it cannot be
        told: it is behind others, or a background from side to side.
    """
    return tuple(_Scene(layout, depth).scores())


@dataclass(frozen=True, eq=False)
class _Ground:
    """What all instances are judged by.

    Args:
        smooth: The depth without most of its noise, shape (H, W).
        least: The least relief of a thing.
    """

    smooth: Depth
    least: float

    @classmethod
    def of(cls, depth: Depth, seen: PixelMask) -> _Ground:
        """Measure range and noise of ``depth``; ``seen`` is True outside all boxes."""
        low, high = np.quantile(depth, (0.01, 0.99))
        spread = float(high - low)
        rough = np.abs(depth - _mean_nearby(depth, 1))
        noise = 1.57 * float(np.median(rough[seen] if seen.any() else rough))
        reach = 0 if noise < 0.002 * spread else 1 if noise < 0.008 * spread else 2
        least = max(LEAST_RELIEF * spread, NOISES * noise / (2 * reach + 1), LEVEL)
        return cls(_mean_nearby(depth, reach), least)


class _Scene:
    """A layout on its depth map."""

    def __init__(self, layout: Layout, depth: DepthMap) -> None:
        scale = min(1.0, LONGEST / max(depth.width, depth.height))
        small = depth.resize(
            max(1, round(depth.width * scale)), max(1, round(depth.height * scale))
        )
        self._instances = layout.instances
        self._boxes = [instance.box for instance in layout.instances]
        self._corners = corners_of(self._boxes)
        self._shape = shape = (small.height, small.width)
        self._parts = [box_tokens(box, *shape) for box in self._boxes]
        self._wide_parts = [box_tokens(_widened(box, MARGIN), *shape) for box in self._boxes]
        self._count, self._covered = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        for part, wide in zip(self._parts, self._wide_parts, strict=True):
            self._count[part] += 1
            self._covered[wide] += 1
        self._ground = _Ground.of(small.values, self._covered == 0)
        self._seen = _smooth_seen(self._ground.smooth, self._covered == 0)

    def scores(self) -> Iterator[float | None]:
        for index, box in enumerate(self._boxes):
            yield None if box.x1 - box.x0 >= WIDE else self._score(index)

    def _score(self, index: int) -> float | None:
        part = self._parts[index]
        outer = containing(self._corners, self._corners[index])
        around = [int(other) for other in np.flatnonzero(outer)]
        judged = self._judged(index, around)
        if judged.mean() <= HIDDEN:
            return None
        covered = self._covered > 0 if not around else self._without(around) > 0
        seen = self._seen if not around else _smooth_seen(self._ground.smooth, ~covered)
        behind = depth_behind(seen, covered, part)
        row = np.median(behind, axis=1)
        foot = row[-max(1, len(row) // 10) :].mean()
        upright = UPRIGHT * (foot - row)[:, None]
        relief = self._ground.smooth[part] - behind
        out = relief > np.maximum(self._ground.least, upright)
        if not (out & judged).any():
            return 0.0
        typical = float(np.quantile(relief[out & judged], 0.75))
        beyond = self._beyond(index, covered, max(self._ground.least, typical / 4))
        return _extent_score(out & judged, judged, beyond)

    def _beyond(self, index: int, covered: PixelMask, least: float) -> tuple[int, int]:
        """How many rows and columns a thing goes on beyond its box, where no other box is.

        Only rows count that are seen on both sides of the thing: else nobody knows what is behind.
        """
        shape, own, wide = self._shape, self._parts[index], self._wide_parts[index]
        rows, columns = box_tokens(_widened(self._boxes[index], REACH), *shape)
        also = covered[rows].copy()
        also[:, columns] = True
        hidden = also[:, : columns.start].all(axis=1) | also[:, columns.stop :].all(axis=1)
        known = np.logical_not(hidden)
        if hidden.all():
            return 0, 0
        smooth = self._ground.smooth[rows]
        behind = depth_behind(_smooth_seen(smooth, ~also), also, (slice(None), columns))
        out, free = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        out[rows, columns] = smooth[:, columns] - behind > least
        free[rows, columns] = (self._covered[rows, columns] == 0) & known[:, None]
        return (
            _goes_on(out[:, own[1]], free[:, own[1]], wide[0], own[0]),
            _goes_on(out[own[0]].T, free[own[0]].T, wide[1], own[1]),
        )

    def _judged(self, index: int, around: list[int]) -> PixelMask:
        """The pixels of a box that belong to its instance or to what is behind it."""
        part = self._parts[index]
        count = self._count[part]
        for other in around:
            count = count - _filled(self._shape, self._parts[other])[part]
        judged = count == 1
        mask = self._instances[index].mask
        if mask is not None:
            judged = judged & nearest(mask.decode(), *self._shape)[part]
        return judged

    def _without(self, around: list[int]) -> NDArray[np.int16]:
        covered = self._covered.copy()
        for other in around:
            covered[self._wide_parts[other]] -= 1
        return covered


def _extent_score(out: PixelMask, judged: PixelMask, beyond: tuple[int, int]) -> float:
    """How well the extent of ``out`` fits that of ``judged``, both of shape (rows, columns).

    ``beyond`` is by how many rows and columns the thing is larger than its box.
    """
    score = min(1.0, float(out.sum() / judged.sum()) / FILLED)
    for axis, more in enumerate(reversed(beyond)):
        there = judged.sum(axis=axis)
        share = out.sum(axis=axis) / np.maximum(there, 1)
        score *= _length(share >= LEAST_COVER) / (_length(there > 0) + more)
    # Of what is hidden nothing is known, so that a corner of a thing may stand for all of it.
    return float(score ** np.clip(judged.mean() / 0.9, 0.5, 1.0))


def _goes_on(out: PixelMask, free: PixelMask, wide: slice, own: slice) -> int:
    """Rows by which ``out`` goes on from ``wide`` without a gap, up and down; shapes (H, any).

    What goes on beyond the margin ``wide`` has crossed it, so that its rows beside ``own`` count.
    """
    there = free.sum(axis=1)
    covers = (out & free).sum(axis=1) >= np.maximum(1, BEYOND * there)
    above, below = covers[: wide.start][::-1], covers[wide.stop :]
    rows = 0
    for run, margin in ((above, own.start - wide.start), (below, wide.stop - own.stop)):
        length = int(np.argmin(np.append(run, False)))
        rows += length + margin if length else 0
    return rows


def _length(flags: NDArray[np.bool_]) -> int:
    """From the first to the last that is True."""
    places = np.flatnonzero(flags)
    return int(places[-1] - places[0]) + 1 if len(places) else 0


def _filled(shape: tuple[int, int], part: Part) -> NDArray[np.int16]:
    filled = np.zeros(shape, np.int16)
    filled[part] = 1
    return filled


def _widened(box: Box, share: float) -> Box:
    wide, tall = share * (box.x1 - box.x0), share * (box.y1 - box.y0)
    return Box(
        x0=max(0.0, box.x0 - wide),
        y0=max(0.0, box.y0 - tall),
        x1=min(1.0, box.x1 + wide),
        y1=min(1.0, box.y1 + tall),
    )


def _smooth_seen(depth: Depth, seen: PixelMask) -> Depth:
    """``depth`` where it is seen, smoothed over that: what is behind is filled in from pixels."""
    share = _mean_nearby(seen.astype(np.float32), 2)
    mean = _mean_nearby(np.where(seen, depth, 0).astype(np.float32), 2)
    return np.where(seen, mean / np.maximum(share, 1e-6), depth).astype(np.float32)


def _mean_nearby(values: Depth, reach: int) -> Depth:
    """The mean of the square of pixels at most ``reach`` away, shape (H, W)."""
    if reach == 0:
        return values
    span = 2 * reach + 1
    rows = _sums(np.pad(values, reach, mode="edge").astype(np.float64), span)
    return (_sums(rows.T, span).T / span**2).astype(np.float32)


def _sums(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """The sum of each ``span`` rows in turn."""
    total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return total[span:] - total[:-span]
