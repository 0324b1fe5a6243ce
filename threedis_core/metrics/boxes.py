"""Boxes that a detector found: their overlap, and leaving out those found twice.

N = number of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from threedis_core.plugin.judging.interfaces import FoundBox

Corners = tuple[float, float, float, float]


def ious(box: Corners, others: Sequence[Corners]) -> NDArray[np.float64]:
    """Intersection over union of a box with each of N others, shape (N,).

    All are left, top, right, bottom, in the same unit; they need not lie inside the picture.
    """
    x0, y0, x1, y1 = np.asarray(others, dtype=np.float64).reshape(-1, 4).T
    width = np.minimum(x1, box[2]) - np.maximum(x0, box[0])
    height = np.minimum(y1, box[3]) - np.maximum(y0, box[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = (x1 - x0) * (y1 - y0) + (box[2] - box[0]) * (box[3] - box[1]) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def suppress(found: Sequence[FoundBox], threshold: float) -> list[FoundBox]:
    """Leave out every box whose IoU with a surer one that stays is above ``threshold``.

    Returns:
        Those that stay, the surest first; of boxes of one score the earlier is the surer.
    """
    kept: list[FoundBox] = []
    for box in sorted(found, key=lambda one: -one.score):
        if not (ious(box.xyxy, [one.xyxy for one in kept]) > threshold).any():
            kept.append(box)
    return kept
