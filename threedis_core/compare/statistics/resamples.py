"""Draw layouts again: how often each counts in every resample, the same for all systems.

L = number of layouts, R = number of resamples or swaps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
RESAMPLES = 9_999
SEED = 20_241
"""Of the draws: the same scores give the same intervals on every machine."""
MOST_NUMBERS = 2**21
"""Draws come in blocks of about so many numbers, so that any number of layouts fits: 16 MB."""
MOST_ENUMERATED = 13
"""Up to so many layouts all 2**L swaps are tried: fewer than RESAMPLES."""


def drawn_layouts(layouts: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[Counts]:
    """How often each layout is drawn, L of them with replacement.

    Yields:
        Blocks of whole numbers, shape (r, L), R rows in all; every row sums to L.
    """
    random = np.random.default_rng(seed)
    for rows in _blocks(resamples, layouts):
        drawn = random.integers(0, layouts, (rows, layouts))
        drawn += np.arange(rows)[:, None] * layouts
        counts = np.bincount(drawn.ravel(), minlength=rows * layouts)
        yield counts.reshape(rows, layouts).astype(np.float64)


def left_out(layouts: int) -> Iterator[Counts]:
    """Each layout left out once: blocks of 0 and 1, shape (r, L), L rows in all."""
    start = 0
    for rows in _blocks(layouts, layouts):
        counts = np.ones((rows, layouts))
        counts[np.arange(rows), start + np.arange(rows)] = 0
        start += rows
        yield counts


def swaps(layouts: int, draws: int = RESAMPLES, seed: int = SEED) -> Iterator[Counts]:
    """In which layouts two systems change places: every way if there are few, else random ones.

    Yields:
        Blocks of 0 and 1, shape (r, L); all 2**L rows, or ``draws``.
    """
    if layouts <= MOST_ENUMERATED:
        numbers = np.arange(2**layouts, dtype=np.int64)[:, None]
        places = np.arange(layouts, dtype=np.int64)
        yield (np.right_shift(numbers, places) & 1).astype(np.float64)
        return
    random = np.random.default_rng(seed)
    for rows in _blocks(draws, layouts):
        yield random.integers(0, 2, (rows, layouts)).astype(np.float64)


def is_enumerated(layouts: int) -> bool:
    """True if ``swaps`` has every way there is."""
    return layouts <= MOST_ENUMERATED


def _blocks(total: int, width: int) -> Iterator[int]:
    step = max(1, MOST_NUMBERS // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)
