"""A picture of regions, one colour each.

H, W = height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.values.palette import instance_color

BACKGROUND = 24
ROWS_AT_ONCE = 256
Region = tuple[slice, slice] | NDArray[np.bool_]
"""Rows and columns of a rectangle, or the pixels of a mask, shape (H, W)."""


def draw_regions(regions: Sequence[Region], height: int, width: int) -> Image.Image:
    """An RGB picture of regions, their colours mixed where they overlap."""
    picture = Image.new("RGB", (width, height))
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, min(top + ROWS_AT_ONCE, height))
        sums = _summed(regions, rows, width)
        covered = sums[3] > 0
        block = np.full((*covered.shape, 3), BACKGROUND, dtype=np.uint8)
        for channel in range(3):
            # In float32, as the sums are exact in it.
            mean = sums[channel][covered].astype(np.float32) / sums[3][covered].astype(np.float32)
            block[..., channel][covered] = np.rint(mean)
        picture.paste(Image.fromarray(block), (0, top))
    return picture


def _summed(regions: Sequence[Region], rows: slice, width: int) -> NDArray[np.int32]:
    """Red, green and blue of all regions, and how many there are, at each pixel of some rows.

    Returns:
        Shape (4, rows, W).
    """
    count = rows.stop - rows.start
    # A rectangle is added at its four corners only; summing up then spreads it.
    corners = np.zeros((4, count + 1, width + 1), dtype=np.int32)
    masks: list[tuple[NDArray[np.bool_], NDArray[np.int32]]] = []
    for index, region in enumerate(regions):
        color = np.array([*instance_color(index), 1], dtype=np.int32)
        if not isinstance(region, tuple):
            masks.append((region[rows], color))
            continue
        top, bottom = (min(max(side - rows.start, 0), count) for side in _ends(region[0]))
        left, right = _ends(region[1])
        corners[:, top, left] += color
        corners[:, top, right] -= color
        corners[:, bottom, left] -= color
        corners[:, bottom, right] += color
    sums = corners.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)[:, :-1, :-1]
    for mask, color in masks:
        for channel in range(4):
            sums[channel] += mask * color[channel]
    return sums


def _ends(side: slice) -> tuple[int, int]:
    return side.start, side.stop
