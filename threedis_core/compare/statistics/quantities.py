"""What is measured of every system, as a function of how often each layout counts.

L = number of layouts, S = number of columns (a system in a stratum, say), R = number of weightings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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


Pool = Callable[[Sequence[int]], Callable[[Numbers], Numbers]]
"""From places of pictures among all to what computes F figures, shape (R, F), of their weights,
shape (R, P)."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """F figures that are no means of anything, such as average precision, of several systems.

    Column f * systems + s is figure f of system s.

    Args:
        layout: Of which layout each picture is, shape (P,), from 0 to L - 1.
        system: Of which system, shape (P,).
        systems: How many systems.
        layouts: L.
        pool: Computes the figures of some of the pictures.
    """

    layout: NDArray[np.intp]
    system: NDArray[np.intp]
    systems: int
    layouts: int
    pool: Pool

    @cached_property
    def _pools(self) -> list[tuple[NDArray[np.intp], Callable[[Numbers], Numbers]]]:
        """Of each system its pictures, and what computes the figures of them."""
        own = [np.flatnonzero(self.system == system) for system in range(self.systems)]
        return [(places, self.pool(places.tolist())) for places in own]

    def values(self, counts: Counts) -> Numbers:
        """Shape (R, F * systems)."""
        found = [pool(counts[:, self.layout[places]]) for places, pool in self._pools]
        return np.stack(found, axis=2).reshape(len(counts), -1)

    def swapped(self, one: int, other: int, swaps: Counts) -> Numbers:
        """Shape (R,); both columns are of one figure."""
        figure, first, second = one // self.systems, one % self.systems, other % self.systems
        both = np.flatnonzero((self.system == first) | (self.system == second))
        is_second = (self.system[both] == second).astype(np.float64)
        # What each picture weighs in the second system's place.
        there = np.abs(is_second - swaps[:, self.layout[both]])
        pool = self.pool(both.tolist())
        return (pool(1 - there) - pool(there))[:, figure]


def divided(top: Numbers, bottom: Numbers) -> Numbers:
    """``top / bottom``; NaN where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
