"""Values of a quantity with their intervals, and differences against a baseline.

L = number of layouts, S = number of columns, R = number of resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threedis_core.compare.statistics.intervals import (
    NO_INTERVAL,
    Interval,
    bca_interval,
    wilson_interval,
)
from threedis_core.compare.statistics.quantities import Quantity
from threedis_core.compare.statistics.resamples import RESAMPLES, drawn_layouts, left_out

Numbers = NDArray[np.float64]
POWER_REACH = 2.8016
"""Standard errors from which 80 % of true differences are found at the 5 % level, two-sided."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; None if nothing counts.

    Args:
        value: Of all layouts.
        interval: Its 95 % interval.
        standard_error: Of the resamples; None where there is no interval.
    """

    value: float | None
    interval: Interval
    standard_error: float | None = None

    @property
    def smallest_detectable(self) -> float | None:
        """The difference that such a comparison finds in 80 % of its repetitions, at 5 %."""
        return None if self.standard_error is None else POWER_REACH * self.standard_error


@dataclass(frozen=True, eq=False)
class Sampled:
    """A quantity, and what becomes of it under resampling.

    Args:
        value: Shape (S,).
        resampled: Shape (R, S); all columns of one row are of the same layouts.
        left_out: With each layout left out, shape (L, S).
    """

    value: Numbers
    resampled: Numbers
    left_out: Numbers

    @classmethod
    def of(cls, quantity: Quantity, resamples: int = RESAMPLES) -> Sampled:
        """Resample the layouts of a quantity, jointly for all its columns."""
        layouts = quantity.layouts
        return cls(
            quantity.values(np.ones((1, layouts)))[0],
            np.concatenate([quantity.values(b) for b in drawn_layouts(layouts, resamples)]),
            np.concatenate([quantity.values(block) for block in left_out(layouts)]),
        )

    def estimate(self, column: int, alike: Callable[[], tuple[int, int] | None]) -> Estimate:
        """A column's value with its interval.

        Args:
            column: Which.
            alike: Called where the resamples are all the same: (layouts that give 1, layouts) if
                each layout gives 0 or each gives 1; else None.
        """
        return _estimate(
            float(self.value[column]), self.resampled[:, column], self.left_out[:, column], alike
        )

    def difference(self, column: int, baseline: int) -> Estimate:
        """A column minus the baseline's, of the same resamples."""
        return _estimate(
            float(self.value[column] - self.value[baseline]),
            self.resampled[:, column] - self.resampled[:, baseline],
            self.left_out[:, column] - self.left_out[:, baseline],
            lambda: None,
        )


def _estimate(
    value: float,
    resampled: Numbers,
    without: Numbers,
    alike: Callable[[], tuple[int, int] | None],
) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, NO_INTERVAL)
    interval = bca_interval(value, resampled, without)
    if interval is not NO_INTERVAL:
        return Estimate(value, interval, float(np.nanstd(resampled, ddof=1)))
    shares = alike()
    return Estimate(value, NO_INTERVAL if shares is None else wilson_interval(*shares))
