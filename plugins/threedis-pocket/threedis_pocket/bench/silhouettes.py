"""Find the objects in a depth map of the pocket world, knowing the room but not the layout."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from threedis_core.values.layout import Box
from threedis_pocket.world import floor_depth

BEFORE = 0.02  # an object stands out from the wall or the floor by at least this much
JUMPS = (
    0.005,
    0.008,
    0.012,
    0.018,
    0.030,
)  # neighbouring pixels that differ by more are of two objects
SMALLEST = 0.004  # share of the picture; anything smaller is noise


def find_silhouettes(depth: np.ndarray) -> list[Box]:
    """The boxes around everything that stands before the wall and the floor.

    What stands out is split where its depth jumps, so that one object before another is two. How
    far it must jump nobody knows, so it is split in several ways and the finds are put together.

    Args:
        depth: (H, W) float in [0, 1], 1 = nearest, on the pocket world's own scale.
    Returns:
        One box for each silhouette.
    """
    rows = (torch.arange(len(depth)) + 0.5) / len(depth)
    out = depth - floor_depth(rows).numpy()[:, None] > BEFORE
    return [box for jump in JUMPS for box in _boxes(_split(depth, out, jump))]


def _boxes(labels: np.ndarray) -> list[Box]:
    height, width = labels.shape
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if (labels[where] == number).sum() >= SMALLEST * labels.size:
            down, across = where
            start = (across.start / width, down.start / height)
            found.append(Box.from_xyxy((*start, across.stop / width, down.stop / height)))
    return found


def _split(depth: np.ndarray, out: np.ndarray, jump: float) -> np.ndarray:
    """Number the pixels of ``out`` that smooth depth connects from 1; 0 is elsewhere."""
    count = int(out.sum())
    numbers = np.cumsum(out).reshape(out.shape) - 1
    pairs = []
    for axis in (0, 1):
        one, other = _shifted(out, axis)
        near, far = _shifted(depth, axis)
        smooth = one & other & (np.abs(near - far) < jump)
        pairs.append([side[smooth] for side in _shifted(numbers, axis)])
    start, end = np.concatenate(pairs, axis=1)
    graph = sparse.coo_matrix((np.ones(len(start)), (start, end)), shape=(count, count))
    labels = np.zeros(out.shape, int)
    labels[out] = csgraph.connected_components(graph, directed=False)[1] + 1
    return labels


def _shifted(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """All but the first, and all but the last, along an axis."""
    return np.delete(array, 0, axis), np.delete(array, -1, axis)
