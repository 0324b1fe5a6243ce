"""What is measured of every system, as a function of how often each layout counts.

L = number of layouts, S = number of columns (a system in a stratum, say), R = number of weightings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from threedis_core.compare.statistics.resamples import Counts

Numbers = NDArray[np.float64]


class Quantity(Protocol):
    """A number for each of S columns under every weighting of L layouts."""

    @property
    def layouts(self) -> int:
        """L."""
        ...

    def values(self, counts: Counts) -> Numbers:
        """The numbers if layout l counts ``counts[r, l]`` times, shape (R, S); NaN if undefined."""
        ...

    def swapped(self, one: int, other: int, swaps: Counts) -> Numbers:
        """Column ``one`` minus ``other`` if they change places where ``swaps`` is 1, shape (R,)."""
        ...


@dataclass(frozen=True, eq=False)
class Ratios:
    """Sums over sums: of each layout's numerator and denominator, summed over its instances.

    Args:
        numerator: Shape (L, S).
        denominator: Shape (L, S); 0 where a layout has nothing that counts.
    """

    numerator: Numbers
    denominator: Numbers

    @property
    def layouts(self) -> int:
        """L."""
        return len(self.numerator)

    def values(self, counts: Counts) -> Numbers:
        """Shape (R, S)."""
        return divided(counts @ self.numerator, counts @ self.denominator)

    def swapped(self, one: int, other: int, swaps: Counts) -> Numbers:
        """Shape (R,)."""
        top, bottom = self.numerator[:, [one, other]], self.denominator[:, [one, other]]
        moved = [swaps @ (part[:, 1] - part[:, 0]) for part in (top, bottom)]
        there = divided(top[:, 0].sum() + moved[0], bottom[:, 0].sum() + moved[1])
        here = divided(top[:, 1].sum() - moved[0], bottom[:, 1].sum() - moved[1])
        return there - here


Pool = Callable[[Sequence[int], Numbers], Numbers]
"""Places of pictures among all, and their weights (R, P), to values, shape (R,)."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """A number that is no mean of anything, such as average precision.

    Args:
        layout: Of which layout each picture is, shape (P,), from 0 to L - 1.
        column: Of which column, shape (P,).
        columns: S.
        layouts: L.
        pool: Computes it of some of the pictures.
    """

    layout: NDArray[np.intp]
    column: NDArray[np.intp]
    columns: int
    layouts: int
    pool: Pool

    def values(self, counts: Counts) -> Numbers:
        """Shape (R, S)."""
        return np.stack(list(self._each(counts)), axis=1)

    def _each(self, counts: Counts) -> Iterator[Numbers]:
        for column in range(self.columns):
            own = np.flatnonzero(self.column == column)
            yield self.pool(own.tolist(), counts[:, self.layout[own]])

    def swapped(self, one: int, other: int, swaps: Counts) -> Numbers:
        """Shape (R,)."""
        both = np.flatnonzero((self.column == one) | (self.column == other))
        is_other = (self.column[both] == other).astype(np.float64)
        moved = swaps[:, self.layout[both]]
        there = np.abs(is_other - moved)  # weight of each picture in the other column's place
        places = both.tolist()
        return self.pool(places, 1 - there) - self.pool(places, there)


def divided(top: Numbers, bottom: Numbers) -> Numbers:
    """``top / bottom``; NaN where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
