"""Where instances are in each other's way.

N = number of instances; H, W = height and width of the depth map in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from threedis_core.values.box_rounding import Part, box_pixels
from threedis_core.values.layout import Box
from threedis_core.values.regions import PixelMask, Regions, nearest

CONTAINED = 0.95
"""A box with this share of its area in a larger one has that one's instance behind it."""

Corners = NDArray[np.float64]
"""x0, y0, x1, y1 of every box, shape (N, 4)."""


def corners_of(boxes: Sequence[Box]) -> Corners:
    """The boxes' corners, shape (N, 4)."""
    return np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)


def containing(outer: Corners, inner: Corners) -> NDArray[np.bool_]:
    """Which of the outer boxes contain the inner one: their instances are what is behind it.

    Args:
        outer: Shape (N, 4).
        inner: Shape (4,).
    Returns:
        Shape (N,).
    """
    width = np.minimum(outer[:, 2], inner[2]) - np.maximum(outer[:, 0], inner[0])
    height = np.minimum(outer[:, 3], inner[3]) - np.maximum(outer[:, 1], inner[1])
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    areas = (outer[:, 2] - outer[:, 0]) * (outer[:, 3] - outer[:, 1])
    return (areas > area) & (shared >= CONTAINED * area)


class Crowd:
    """The boxes and masks of all instances, on the pixels of one depth map.

    Boxes are kept as rectangles, since a picture-sized array for each would fill the memory.

    Args:
        given: What the layout says itself.
        height: Of the depth map.
        width: Of the depth map.
    """

    def __init__(self, given: Regions, height: int, width: int) -> None:
        self._shape = (height, width)
        self._boxes = [box_pixels(box, height, width) for box in given.boxes]
        self._masks = [
            None if mask is None else nearest(mask, height, width) for mask in given.masks
        ]
        self._corners = corners_of(given.boxes)
        self._counts = self._count(np.ones(len(given), dtype=np.bool_))

    def part(self, index: int) -> Part:
        """The rectangle around all pixels of an instance; an empty one if it has none."""
        mask = self._masks[index]
        if mask is None:
            return self._boxes[index]
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def pixels(self, index: int) -> PixelMask:
        """The pixels of an instance in its ``part``."""
        mask, part = self._masks[index], self.part(index)
        if mask is not None:
            return mask[part]
        rows, columns = part
        return np.ones((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)

    def contested(self, index: int) -> PixelMask:
        """Where others are that are not known to be behind an instance, shape (H, W)."""
        aside = containing(self._corners, self._corners[index])
        aside[index] = True
        return self._counts > self._count(aside)

    def _count(self, chosen: NDArray[np.bool_]) -> NDArray[np.int16]:
        """How many of the chosen instances each pixel belongs to, shape (H, W)."""
        # A rectangle is counted at its corners only; summing up spreads it over its pixels.
        edges = np.zeros((self._shape[0] + 1, self._shape[1] + 1), dtype=np.int16)
        masks: list[PixelMask] = []
        for index in np.flatnonzero(chosen):
            mask = self._masks[index]
            if mask is not None:
                masks.append(mask)
                continue
            rows, columns = self._boxes[index]
            edges[rows.start, columns.start] += 1
            edges[rows.start, columns.stop] -= 1
            edges[rows.stop, columns.start] -= 1
            edges[rows.stop, columns.stop] += 1
        np.cumsum(edges, axis=0, out=edges)
        counts = np.cumsum(edges, axis=1, out=edges)[:-1, :-1]
        for mask in masks:
            counts += mask
        return counts
