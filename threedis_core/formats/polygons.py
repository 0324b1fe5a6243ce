"""Fill polygons: a pixel belongs to one if its centre does (even-odd rule), as in COCO.

Pillow's polygons include their right and lower edge, a pixel more than COCO's.
S = number of a polygon's sides; H, W = height and width of its bounding box in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_MASK_PIXELS, MAX_POLYGON_ROWS
from threedis_core.values.masks.mask import Mask

Corners = NDArray[np.float64]
AT_ONCE = 2**18
"""Crossings of sides and rows that are worked on at once."""
ROWS_PER_POLYGON = 1000
"""What a polygon costs besides: it takes as long as this many crossings."""


class PolygonWork:
    """What filling the polygons of one picture costs, all together."""

    def __init__(self) -> None:
        self._rows = self._area = 0

    def add(self, polygon: Corners) -> None:
        """Count one more polygon, before it is filled.

        Raises:
            LayoutError: All polygons of the picture would take too long to fill.
        """
        first, last = _rows_of_sides(polygon)
        self._rows += ROWS_PER_POLYGON + int((last - first).sum())
        left, top, right, bottom = _bounds(polygon)
        self._area += (right - left) * (bottom - top)
        if self._rows > MAX_POLYGON_ROWS or self._area > MAX_MASK_PIXELS:
            raise LayoutError(
                "the polygons have too many or too long sides, or cover too much: more than "
                f"{MAX_POLYGON_ROWS} rows of pixels crossed by sides, or {MAX_MASK_PIXELS} pixels; "
                "simplify them or make the picture smaller"
            )


def fill_polygons(polygons: Sequence[Corners], width: int, height: int) -> Mask | None:
    """Pixels inside any of the polygons; None if they are too thin to hold a pixel.

    Args:
        polygons: Corners (x, y) of each in pixels, shape (S, 2), inside the picture.
        width: Of the picture.
        height: Of the picture.
    Raises:
        LayoutError: The mask has too many runs.
    """
    if not polygons:
        return None
    left, top, right, bottom = _bounds(np.concatenate(polygons))
    pixels = np.zeros((bottom - top, right - left), dtype=np.bool_)
    for polygon in polygons:
        x0, y0, x1, y1 = _bounds(polygon)
        pixels[y0 - top : y1 - top, x0 - left : x1 - left] |= _filled(polygon)
    return Mask.encode(pixels, (height, width), (top, left)) if pixels.any() else None


def _bounds(corners: Corners) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the whole pixels around some corners."""
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _filled(corners: Corners) -> NDArray[np.bool_]:
    """The pixels inside one polygon, shape (H, W)."""
    left, top, right, bottom = _bounds(corners)
    height, width = bottom - top, right - left
    # What lies to the right of a crossing changes between outside and inside.
    changes = np.zeros((height, width + 1), dtype=np.uint8)
    for rows, columns in _crossings(corners):
        # A row may be crossed many times at one pixel: add, and keep whether the sum is odd.
        np.add.at(changes.reshape(-1), (rows - top) * (width + 1) + columns - left, 1)
    changes &= 1
    np.bitwise_xor.accumulate(changes, axis=1, out=changes)
    return changes[:, :-1].view(np.bool_)


def _crossings(corners: Corners) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Where sides cross the middle of a row: the row, and the first pixel whose centre is beyond.

    Yields:
        Rows and columns of the picture, some crossings at a time.
    """
    start, stop = corners, np.roll(corners, -1, axis=0)
    first, last = _rows_of_sides(corners)
    counts = last - first
    ends = np.cumsum(counts)
    for begin in range(0, int(ends[-1]), AT_ONCE):
        # Crossing number k belongs to the side up to whose end fewer than k + 1 are counted.
        number = np.arange(begin, min(begin + AT_ONCE, int(ends[-1])))
        side = np.searchsorted(ends, number, side="right")
        row = first[side] + number - (ends - counts)[side]
        x, y = start[side].T
        to_x, to_y = stop[side].T
        share = (row + 0.5 - y) / (to_y - y)
        yield row, np.ceil(x + share * (to_x - x) - 0.5).astype(np.intp)


def _rows_of_sides(corners: Corners) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row whose middle each side crosses, and one past the last; both of shape (S,)."""
    y = corners[:, 1]
    ends = np.stack([y, np.roll(y, -1)])
    # The upper end belongs to a side and the lower one does not, so that a corner counts once.
    first, last = np.ceil(np.stack([ends.min(axis=0), ends.max(axis=0)]) - 0.5).astype(np.intp)
    return first, last
