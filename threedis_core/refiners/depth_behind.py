"""What the depth of a scene would be without its instances: the floor and walls behind them.

H, W = height and width in pixels.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from threedis_core.values.box_rounding import Part
from threedis_core.values.regions import PixelMask

Depth = NDArray[np.float32]
Values = TypeVar("Values", bound=np.generic)
WHOLE: Part = (slice(None), slice(None))


def depth_behind(depth: Depth, covered: PixelMask, part: Part = WHOLE) -> Depth:
    """Fill in the depth behind the pixels where instances may be.

    A row is filled from what is seen of it to the left and the right, since a floor is as near
    along a row but comes nearer from row to row. A row of which nothing is seen is filled from the
    nearest ones above and below.

    Args:
        depth: Shape (H, W).
        covered: True where an instance may be, shape (H, W).
        part: The rows and columns that are wanted. Which ones does not change their values.
    Returns:
        Shape of the part; ``depth`` itself where nothing is covered, 0 if everything is.
    """
    seen = np.flatnonzero(~covered.all(axis=1))
    rows: NDArray[np.intp] = np.arange(depth.shape[0], dtype=np.intp)[part[0]]
    columns = np.arange(depth.shape[1], dtype=np.float32)
    wanted = columns[part[1]]
    if len(seen) == 0:
        return np.zeros((len(rows), len(wanted)), dtype=depth.dtype)
    # The nearest seen rows; a seen row is its own neighbour on both sides.
    above = seen[np.maximum(np.searchsorted(seen, rows, side="right") - 1, 0)]
    below = seen[np.minimum(np.searchsorted(seen, rows), len(seen) - 1)]
    sources = np.union1d(above, below)
    filled = np.empty((len(sources), len(wanted)), dtype=depth.dtype)
    for place, row in enumerate(sources):
        free = ~covered[row]
        filled[place] = np.interp(wanted, columns[free], depth[row, free])
    hidden = above != below
    if len(sources) == len(rows) and not hidden.any():
        return filled
    first, second = np.searchsorted(sources, above), np.searchsorted(sources, below)
    result = filled[first]
    between = (rows - above)[hidden] / (below - above)[hidden]
    share = between.astype(np.float32)[:, None]
    result[hidden] = result[hidden] * (1 - share) + filled[second[hidden]] * share
    return result


def greatest_nearby(values: NDArray[Values], reach: int) -> NDArray[Values]:
    """The greatest value at most ``reach`` rows and columns away, shape (H, W)."""
    return _greatest_in_rows(_greatest_in_rows(values, reach).T, reach).T


def _greatest_in_rows(values: NDArray[Values], reach: int) -> NDArray[Values]:
    """The greatest value at most ``reach`` rows away."""
    rows, span = values.shape[0], 2 * reach + 1
    found = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    # Twice as many rows at each step; two overlapping spans then make up one of any length.
    looked_at = 1
    while 2 * looked_at <= span:
        found = np.maximum(found[:-looked_at], found[looked_at:])
        looked_at *= 2
    rest = span - looked_at
    return np.maximum(found[:rows], found[rest : rest + rows])
