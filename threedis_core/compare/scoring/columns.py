"""Scores as the statistics read them: sums per layout, of every figure, stratum and system.

L = number of layouts that have anything, C = number of cells, S = number of systems, N = number of
instances of all pictures together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.presence import Presence
from threedis_core.compare.scoring.results import Results, State
from threedis_core.compare.scoring.strata import (
    IN_DEPTH,
    LEVEL,
    OF_LAYOUTS,
    Labels,
    in_depth,
    order_of,
    strata_of,
)
from threedis_core.compare.statistics.quantities import Pooled, Ratios
from threedis_core.plugin.judging.checks import checked_pool
from threedis_core.plugin.judging.interfaces import Figure, Metric, PictureScore, Value

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]
Stratum = tuple[str, str]
"""A stratum's name and one of its labels."""
EVERYTHING: Stratum = ("", "")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that counts: its layout's place among those that have anything, and its score.

    ``depth`` is the key of its depth map; None if it has none.
    """

    layout: int
    system: int
    depth: str | None
    place: int
    score: PictureScore


@dataclass(frozen=True, eq=False)
class Counted:
    """The pictures that a table counts, of one metric.

    Args:
        plan: The comparison.
        metric: The metric.
        pictures: Those of the cells that count, in order of cells.
        layouts: How many layouts these are of.
        presence: How much of each instance each depth map shows.
    """

    plan: ComparePlan
    metric: Metric
    pictures: tuple[Picture, ...]
    layouts: int
    presence: Presence

    @classmethod
    def of(
        cls,
        plan: ComparePlan,
        metric: Metric,
        results: Results,
        presence: Presence,
        failures_as_zero: bool = False,
    ) -> Counted:
        """Count the cells that all systems have done.

        Args:
            plan: The comparison.
            metric: The metric.
            results: Its scores.
            presence: How much of each instance each depth map shows.
            failures_as_zero: Count too those in which some have failed: these are missing pictures.
        """
        chosen = results.settled if failures_as_zero else results.complete
        rows: list[int] = np.flatnonzero(chosen).tolist()
        rows = [row for row in rows if plan.layouts[results.cells[row].layout].layout is not None]
        place = {n: at for at, n in enumerate(sorted({results.cells[r].layout for r in rows}))}
        pictures = tuple(
            Picture(
                place[cell.layout],
                system,
                job.depth,
                cell.layout,
                _score(results, row, system, metric, plan),
            )
            for row in rows
            for cell in [results.cells[row]]
            for system, job in enumerate(cell.jobs)
            if job is not None
        )
        return cls(plan, metric, pictures, len(place), presence)

    @cached_property
    def _layout(self) -> Places:
        """The layout of each picture, shape (P,)."""
        return np.array([one.layout for one in self.pictures], dtype=np.intp)

    @cached_property
    def _system(self) -> Places:
        """The system of each picture, shape (P,)."""
        return np.array([one.system for one in self.pictures], dtype=np.intp)

    @cached_property
    def _owner(self) -> Places:
        """The picture of each instance, shape (N,)."""
        counts = [len(one.score.instances) for one in self.pictures]
        return np.repeat(np.arange(len(self.pictures)), counts)

    @cached_property
    def _labels(self) -> Mapping[str, NDArray[np.object_]]:
        """For each stratum the label of every instance, shape (N,)."""
        by_layout = [strata_of(layout) for layout in self.plan.layouts]
        labels = [self._labels_of(picture, by_layout[picture.place]) for picture in self.pictures]
        names = dict.fromkeys(name for some in labels for name in some)
        return {
            name: np.array([label for some in labels for label in some[name]], dtype=object)
            for name in names
        }

    def _labels_of(self, picture: Picture, known: Labels) -> Labels:
        count = len(picture.score.instances)
        scores = self.presence.get(picture.depth or "")
        shown = [None] * count if scores is None else in_depth(scores)
        return {**known, IN_DEPTH: shown}

    def strata(self, figure: Figure) -> Iterator[Stratum]:
        """Everything, and every stratum that splits it, in the order of a table."""
        yield EVERYTHING
        for name, labels in self._labels.items():
            if figure.per != "instance" and name not in OF_LAYOUTS:
                continue
            if figure.per == "pooled" and name != LEVEL:
                continue  # each stratum takes as long as the whole
            there = {str(label) for label in labels if label is not None}
            if len(there) > 1:
                for label in sorted(there, key=lambda one: order_of(name, one)):
                    yield name, label

    def sums(self, figure: Figure, stratum: Stratum = EVERYTHING) -> Ratios:
        """Numerators and denominators of a figure of instances or pictures, a column a system."""
        key = figure.value_key
        if figure.per == "instance":
            rows = [row for one in self.pictures for row in one.score.instances]
            owner = self._owner
        else:
            rows = [one.score.picture for one in self.pictures]
            owner = np.arange(len(self.pictures))
        values = _numbers([row.get(key) for row in rows])
        counts = np.isfinite(values) & self._in(figure, stratum)
        place = self._layout[owner] * self._systems + self._system[owner]
        return Ratios(
            self._summed(place[counts], values[counts]), self._summed(place[counts], None)
        )

    def pooled(self, figures: Sequence[Figure], stratum: Stratum = EVERYTHING) -> Pooled:
        """All figures that the metric pools, in order, each with a column a system."""
        chosen = np.flatnonzero(self._in(figures[0], stratum))
        scores = [self.pictures[number].score for number in chosen]

        def pool(places: Sequence[int]) -> Callable[[Numbers], Numbers]:
            pooler = self.metric.pool([scores[place] for place in places])

            def pooled(weights: Numbers) -> Numbers:
                found = checked_pool(pooler(weights), figures, len(weights))
                return np.stack([found[figure.name] for figure in figures], axis=1)

            return pooled

        return Pooled(self._layout[chosen], self._system[chosen], self._systems, self.layouts, pool)

    def counts(self, figure: Figure, stratum: Stratum, system: int) -> tuple[int, int, int]:
        """How many layouts, pictures and instances a figure of a system is of."""
        inside = self._in(figure, stratum)
        if figure.per == "instance":
            inside = inside & (self._system[self._owner] == system)
            pictures = np.unique(self._owner[inside])
            instances = int(inside.sum())
        else:
            pictures = np.flatnonzero(inside & (self._system == system))
            instances = int(np.isin(self._owner, pictures).sum())
        return len(np.unique(self._layout[pictures])), len(pictures), instances

    @property
    def _systems(self) -> int:
        return len(self.plan.systems)

    def _in(self, figure: Figure, stratum: Stratum) -> NDArray[np.bool_]:
        """Which instances, or pictures, are in a stratum."""
        name, label = stratum
        per_instance = figure.per == "instance"
        if stratum == EVERYTHING:
            return np.ones(len(self._owner) if per_instance else len(self.pictures), np.bool_)
        found = self._labels[name] == label
        if per_instance:
            return found
        inside = np.zeros(len(self.pictures), np.bool_)
        inside[self._owner[found]] = True
        return inside

    def _summed(self, place: Places, values: Numbers | None) -> Numbers:
        size = self.layouts * self._systems
        sums = np.bincount(place, weights=values, minlength=size).astype(np.float64)
        return sums.reshape(self.layouts, self._systems)


def _score(
    results: Results, row: int, system: int, metric: Metric, plan: ComparePlan
) -> PictureScore:
    cell = results.cells[row]
    job, layout = cell.jobs[system], plan.layouts[cell.layout].layout
    if job is not None and results.states[row, system] == State.DONE:
        return results.scores[job.key]
    if layout is None:
        return PictureScore(())
    return metric.missing(layout)


def _numbers(values: Sequence[Value]) -> Numbers:
    return np.array([np.nan if one is None else float(one) for one in values], dtype=np.float64)
