"""95 % intervals: BCa bootstrap, and Wilson's where all layouts agree.

R = number of resamples, L = number of layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LEVEL = 0.95
Kind = Literal["bca", "percentile", "wilson", "none"]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; None and "none" where nothing can be said, as of one layout alone."""

    low: float | None
    high: float | None
    kind: Kind


NO_INTERVAL = Interval(None, None, "none")


def bca_interval(value: float, resampled: Numbers, left_out: Numbers) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987).

    Where it is not defined, because no resample is below or above the value, the plain percentiles
    are taken, and the interval says so.

    Args:
        value: Of all layouts as they are.
        resampled: Of every resample, shape (R,); NaN where it is undefined.
        left_out: Of all layouts but one, for each in turn, shape (L,).
    """
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    drawn = resampled[np.isfinite(resampled)]
    if not len(drawn) or np.ptp(drawn) <= 1e-12:
        return NO_INTERVAL
    ends = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    below = (np.sum(drawn < value) + np.sum(drawn <= value)) / (2 * len(drawn))
    bias = float(special.ndtri(below))
    kind: Kind = "percentile"
    if np.isfinite(bias):
        shift = bias + special.ndtri(ends)
        adjusted = special.ndtr(bias + shift / (1 - _acceleration(left_out) * shift))
        if np.isfinite(adjusted).all():
            ends, kind = adjusted, "bca"
    low, high = np.quantile(drawn, ends)
    return Interval(float(low), float(high), kind)


def _acceleration(left_out: Numbers) -> float:
    kept = left_out[np.isfinite(left_out)]
    away = kept.mean() - kept if len(kept) else kept
    spread = float(np.sum(away**2))
    return float(np.sum(away**3)) / (6 * spread**1.5) if spread > 0 else 0.0


def wilson_interval(right: int, layouts: int) -> Interval:
    """Wilson's interval of a share of layouts (Wilson 1927)."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    if not layouts:
        return NO_INTERVAL
    z2 = float(special.ndtri((1 + LEVEL) / 2)) ** 2
    share = right / layouts
    middle = (share + z2 / (2 * layouts)) / (1 + z2 / layouts)
    reach = (z2 * share * (1 - share) / layouts + z2**2 / (4 * layouts**2)) ** 0.5
    reach /= 1 + z2 / layouts
    low = 0.0 if right == 0 else middle - reach
    high = 1.0 if right == layouts else middle + reach
    return Interval(low, high, "wilson")
