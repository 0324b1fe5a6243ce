"""Every figure of a comparison with its interval, and its difference from the baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.columns import EVERYTHING, Counted, Stratum
from threedis_core.compare.scoring.presence import Presence
from threedis_core.compare.scoring.results import Results
from threedis_core.compare.statistics.estimates import Estimate, Sampled
from threedis_core.compare.statistics.layouts import all_alike
from threedis_core.compare.statistics.quantities import Pooled, Ratios
from threedis_core.compare.statistics.resamples import RESAMPLES
from threedis_core.compare.statistics.swapping import holm, swap_p_value
from threedis_core.plugin.judging.interfaces import Figure, Metric
from threedis_core.plugin.progress import Progress, silent

POOLED_RESAMPLES = 999
"""Of figures that are no means, which take longer."""
SIGNIFICANT = 0.05
ALIKE = "not distinguished"


@dataclass(frozen=True)
class Difference:
    """How far a system is from the baseline.

    Args:
        estimate: The difference with its interval.
        verdict: "better" or "worse" where it is tested and distinguished; of what is not tested
            "interval above 0" or "interval below 0"; else "not distinguished".
        p: Of the permutation test; None: not tested.
        p_adjusted: Adjusted for the number of systems; None: not tested.
    """

    estimate: Estimate
    verdict: str
    p: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class FigureRow:
    """One figure of one system.

    Args:
        metric: The metric as it was chosen.
        figure: The figure.
        stratum: The part of the instances or layouts that it is of.
        system: The system's place in the plan.
        estimate: Its value with its interval.
        layouts: How many layouts it is of.
        pictures: How many pictures.
        instances: How many instances; of pictures as a whole: all of theirs.
        complete: True: of the cells that all systems have done. False: failures count as 0.
        exploratory: True unless it is the primary figure of all layouts.
        resamples: How many its interval is of.
        difference: From the baseline; None for the baseline.
        base: The place of the renderer without a label that it is a variant of; None: it is none,
            or that one is not compared, or is the baseline.
        from_base: How far it is from that one, which is never tested.
    """

    metric: str
    figure: Figure
    stratum: Stratum
    system: int
    estimate: Estimate
    layouts: int
    pictures: int
    instances: int
    complete: bool
    exploratory: bool
    resamples: int
    difference: Difference | None = None
    base: int | None = None
    from_base: Difference | None = None


def figure_rows(
    plan: ComparePlan,
    metrics: Mapping[str, tuple[Metric, Results]],
    presence: Presence,
    progress: Progress = silent,
) -> list[FigureRow]:
    """All figures: of everything and of every stratum, of complete cells and with failures as 0.

    Args:
        plan: The comparison.
        metrics: Each metric with its results, by its name.
        presence: How much of each instance each depth map shows.
        progress: Told after every figure.
    """
    rows: list[FigureRow] = []
    work = [(name, *pair, zero) for name, pair in metrics.items() for zero in (False, True)]
    for done, (name, metric, results, zero) in enumerate(work, start=1):
        if zero and np.array_equal(results.complete, results.settled):
            rows += [_as_failures(row) for row in rows if row.metric == name]
        else:
            counted = Counted.of(plan, metric, results, presence, failures_as_zero=zero)
            if counted.layouts:
                rows += _rows_of(name, counted, zero)
        progress("statistics", done, len(work))
    return rows


def _as_failures(row: FigureRow) -> FigureRow:
    """The same figure where nothing has failed, so that both are the same; it is tested once."""
    seen = None if row.difference is None else row.difference.estimate
    difference = None if seen is None else Difference(seen, _seen(seen))
    return replace(row, complete=False, exploratory=True, difference=difference)


@dataclass(frozen=True, eq=False)
class _Part:
    """A figure in a stratum: columns ``first``, ``first`` + 1, ... of a sampled quantity."""

    figure: Figure
    stratum: Stratum
    quantity: Ratios | Pooled
    sampled: Sampled
    first: int
    resamples: int


def _rows_of(name: str, counted: Counted, zero: bool) -> Iterator[FigureRow]:
    for part in (*_means(counted), *_pools(counted)):
        yield from _row_of_each_system(name, counted, part, zero)


def _means(counted: Counted) -> list[_Part]:
    """The figures that are means, all resampled together."""
    chosen = [
        (figure, stratum, counted.sums(figure, stratum))
        for figure in counted.metric.figures
        if figure.per != "pooled"
        for stratum in counted.strata(figure)
    ]
    if not chosen:
        return []
    sums = [ratios for _, _, ratios in chosen]
    together = Ratios(
        np.concatenate([one.numerator for one in sums], axis=1),
        np.concatenate([one.denominator for one in sums], axis=1),
    )
    sampled, systems = Sampled.of(together), len(counted.plan.systems)
    return [
        _Part(figure, stratum, ratios, sampled, place * systems, RESAMPLES)
        for place, (figure, stratum, ratios) in enumerate(chosen)
    ]


def _pools(counted: Counted) -> Iterator[_Part]:
    """The figures that are no means, all of one stratum together."""
    pooled = [figure for figure in counted.metric.figures if figure.per == "pooled"]
    systems = len(counted.plan.systems)
    for stratum in counted.strata(pooled[0]) if pooled else ():
        quantity = counted.pooled(pooled, stratum)
        sampled = Sampled.of(quantity, POOLED_RESAMPLES)
        for place, figure in enumerate(pooled):
            first = place * systems
            yield _Part(figure, stratum, quantity, sampled, first, POOLED_RESAMPLES)


def _row_of_each_system(
    name: str, counted: Counted, part: _Part, zero: bool
) -> Iterator[FigureRow]:
    plan, figure = counted.plan, part.figure
    tested = not zero and part.stratum == EVERYTHING and plan.primary == f"{name}.{figure.name}"
    baseline = [one.name for one in plan.systems].index(plan.baseline)
    differences = _differences(part, len(plan.systems), baseline, tested)
    for system in range(len(plan.systems)):
        base = plan.base_of(system)
        if base == baseline:
            base = None
        layouts, pictures, instances = counted.counts(figure, part.stratum, system)
        yield FigureRow(
            name,
            figure,
            part.stratum,
            system,
            part.sampled.estimate(part.first + system, partial(_alike, part, system)),
            layouts,
            pictures,
            instances,
            complete=not zero,
            exploratory=not tested,
            resamples=part.resamples,
            difference=differences.get(system),
            base=base,
            from_base=None if base is None else _untested(part, system, base),
        )


def _alike(part: _Part, system: int) -> tuple[int, int] | None:
    if not isinstance(part.quantity, Ratios) or not part.figure.share:
        return None
    numerator, denominator = part.quantity.numerator, part.quantity.denominator
    return all_alike(numerator[:, system], denominator[:, system])


def _differences(part: _Part, systems: int, baseline: int, tested: bool) -> dict[int, Difference]:
    """The difference of every other system from the baseline, by the system's place."""
    others = [system for system in range(systems) if system != baseline]
    found = {system: _untested(part, system, baseline) for system in others}
    if not tested:
        return found
    draws = part.resamples
    first = part.first if isinstance(part.quantity, Pooled) else 0
    p_values = [
        swap_p_value(part.quantity, first + system, first + baseline, draws) for system in others
    ]
    return {
        system: Difference(one.estimate, _verdict(one.estimate, part.figure, adjusted), p, adjusted)
        for (system, one), p, adjusted in zip(found.items(), p_values, holm(p_values), strict=True)
    }


def _untested(part: _Part, system: int, base: int) -> Difference:
    estimate = part.sampled.difference(part.first + system, part.first + base)
    return Difference(estimate, _seen(estimate))


def _verdict(difference: Estimate, figure: Figure, p: float) -> str:
    if difference.value is None or p >= SIGNIFICANT:
        return ALIKE
    return "better" if (difference.value > 0) == (figure.better == "higher") else "worse"


def _seen(difference: Estimate) -> str:
    low, high = difference.interval.low, difference.interval.high
    if low is not None and low > 0:
        return "interval above 0"
    if high is not None and high < 0:
        return "interval below 0"
    return ALIKE
