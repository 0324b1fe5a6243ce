"""P-values by permutation: two systems that are alike may change places in any layout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from threedis_core.compare.statistics.quantities import Quantity
from threedis_core.compare.statistics.resamples import RESAMPLES, is_enumerated, swaps

TOLERANCE = 1e-12
"""Differences that are the same but for rounding count as the same."""


def swap_p_value(quantity: Quantity, one: int, other: int, draws: int = RESAMPLES) -> float:
    """Two-sided p-value of no difference between two columns.

    In every layout the systems keep or change places, all of the layout's pictures together. Where
    the denominators are the same this is the sign-flip test. All ways are tried where they are few;
    else the observed one counts as one more of the random ones.
    """
    keep = np.zeros((1, quantity.layouts))
    observed = abs(float(quantity.swapped(one, other, keep)[0]))
    if not np.isfinite(observed):
        return 1.0
    extreme = total = 0
    for block in swaps(quantity.layouts, draws):
        found = np.abs(quantity.swapped(one, other, block))
        extreme += int(np.sum(found >= observed - TOLERANCE))
        total += len(block)
    if is_enumerated(quantity.layouts):
        return extreme / total
    return (extreme + 1) / (total + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down (Holm 1979), in the given order."""
    adjusted = [1.0] * len(p_values)
    least = 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
