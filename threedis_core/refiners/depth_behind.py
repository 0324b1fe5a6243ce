"""What the depth of a scene would be without its instances: the floor and walls behind them.

H, W = height and width in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from threedis_core.values.regions import PixelMask

Depth = NDArray[np.float32]


def depth_behind(depth: Depth, covered: PixelMask) -> Depth:
    """Fill in the depth behind the pixels where instances may be.

    A row is filled from what is seen of it to the left and the right, since a floor is as near
    along a row but comes nearer from row to row. A row of which nothing is seen is filled from the
    nearest ones above and below.

    Args:
        depth: Shape (H, W).
        covered: True where an instance may be, shape (H, W).
    Returns:
        Shape (H, W); ``depth`` itself where nothing is covered, 0 if everything is.
    """
    seen = np.flatnonzero(~covered.all(axis=1))
    if len(seen) == 0:
        return np.zeros_like(depth)
    filled = np.empty_like(depth)
    columns = np.arange(depth.shape[1], dtype=np.float32)
    for row in seen:
        free = ~covered[row]
        filled[row] = np.interp(columns, columns[free], depth[row, free])
    hidden = np.flatnonzero(covered.all(axis=1))
    above = seen[np.maximum(np.searchsorted(seen, hidden) - 1, 0)]
    below = seen[np.minimum(np.searchsorted(seen, hidden), len(seen) - 1)]
    between = (hidden - above) / np.maximum(below - above, 1)
    share = np.clip(between, 0, 1).astype(np.float32)[:, None]
    filled[hidden] = filled[above] * (1 - share) + filled[below] * share
    return filled


def greatest_nearby(values: Depth, reach: int) -> Depth:
    """The greatest value at most ``reach`` rows and columns away, shape (H, W)."""
    return _greatest_in_rows(_greatest_in_rows(values, reach).T, reach).T


def _greatest_in_rows(values: Depth, reach: int) -> Depth:
    """The greatest value at most ``reach`` rows away."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    return windows.max(axis=-1)
