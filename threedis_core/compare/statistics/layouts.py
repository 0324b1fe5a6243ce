"""Layout-level intervals of plain lists: a share or a mean whose values come in layouts.

For what measures without a comparison, such as ``threedis bench pocket``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from threedis_core.compare.statistics.estimates import Estimate, Sampled
from threedis_core.compare.statistics.quantities import Ratios

Numbers = NDArray[np.float64]


def mean_of_layouts(values: Sequence[float], layouts: Sequence[Hashable]) -> Estimate:
    """The mean of values in [0, 1] with the interval of resampled layouts.

    Args:
        values: Of instances or pictures.
        layouts: The layout of each.
    """
    if not values:
        return Sampled.of(Ratios(np.zeros((1, 1)), np.zeros((1, 1))), 1).estimate(0, lambda: None)
    places = {name: place for place, name in enumerate(dict.fromkeys(layouts))}
    index = np.array([places[name] for name in layouts])
    top, bottom = np.zeros(len(places)), np.zeros(len(places))
    np.add.at(top, index, np.asarray(values, dtype=np.float64))
    np.add.at(bottom, index, 1.0)
    quantity = Ratios(top[:, None], bottom[:, None])
    return Sampled.of(quantity).estimate(0, lambda: all_alike(top, bottom))


def all_alike(numerator: Numbers, denominator: Numbers) -> tuple[int, int] | None:
    """(layouts that give 1, layouts) if every layout gives 0 or every one gives 1; else None.

    Args:
        numerator: Of each layout, shape (L,).
        denominator: Likewise; layouts with 0 have nothing that counts.
    """
    counts = denominator > 0
    layouts = int(counts.sum())
    if not layouts:
        return None
    if np.all(numerator[counts] == 0):
        return 0, layouts
    if np.all(numerator[counts] == denominator[counts]):
        return layouts, layouts
    return None
