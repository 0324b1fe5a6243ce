"""What is known of every cell of a comparison: a layout with a seed, and each system's picture.

C = number of cells, S = number of systems.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from threedis_core.compare.folder import (
    DEPTH,
    RENDER,
    CompareFolder,
    detect_stage,
    score_stage,
)
from threedis_core.compare.plan.models import ComparePlan, PlannedJob
from threedis_core.compare.scoring.stored import read_score
from threedis_core.errors import DataError
from threedis_core.plugin.judging.interfaces import Metric, PictureScore


class State(IntEnum):
    """What became of a job: as yet nothing, a failure, or what was wanted."""

    PENDING = 0
    FAILED = 1
    DONE = 2


@dataclass(frozen=True)
class Cell:
    """One layout with one seed of the depth map and one of the picture.

    Args:
        layout: The layout's place in the plan.
        depth_seed: Of a picture of another tool: the plan's first.
        seed: Of the picture.
        jobs: Each system's job, in the plan's order; None if it has none here.
    """

    layout: int
    depth_seed: int
    seed: int
    jobs: tuple[PlannedJob | None, ...]


def cells_of(plan: ComparePlan) -> list[Cell]:
    """The cells of a plan, in order of layouts and seeds."""
    place = {layout.id: number for number, layout in enumerate(plan.layouts)}
    system = {one.name: number for number, one in enumerate(plan.systems)}
    found: dict[tuple[int, int, int], list[PlannedJob | None]] = {}
    for job in plan.jobs:
        depth = plan.depth_seeds[0] if job.depth is None else plan.depths_by_key[job.depth].seed
        key = (place[job.layout], depth, job.seed)
        found.setdefault(key, [None] * len(system))[system[job.system]] = job
    return [Cell(*key, tuple(found[key])) for key in sorted(found)]


@dataclass(frozen=True, eq=False)
class Results:
    """The scores of one metric in all cells.

    Args:
        cells: C of them.
        states: Shape (C, S), of ``State``; pending where a system has no job.
        scores: The scores of the jobs that are done, by their keys.
    """

    cells: tuple[Cell, ...]
    states: NDArray[np.int8]
    scores: Mapping[str, PictureScore]

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """The cells that every system has done, shape (C,)."""
        return (self.states == State.DONE).all(axis=1)

    @cached_property
    def settled(self) -> NDArray[np.bool_]:
        """The cells in which every system is done or has failed, shape (C,)."""
        return (self.states != State.PENDING).all(axis=1)


def read_results(folder: CompareFolder, plan: ComparePlan, name: str, metric: Metric) -> Results:
    """Read what the metric, chosen as ``name``, says of all pictures; reads no picture.

    A score that cannot be read, or that a picture no longer has, counts as pending.
    """
    cells = tuple(cells_of(plan))
    scores = dict(_read_scores(folder, plan, name))
    failed = Failures.of(folder, name, metric.detector)
    states = np.zeros((len(cells), len(plan.systems)), dtype=np.int8)
    for row, cell in enumerate(cells):
        for column, job in enumerate(cell.jobs):
            if job is not None:
                broken = plan.layouts[cell.layout].layout is None
                state = State.FAILED if broken or job.refused else failed.state(job)
                states[row, column] = State.DONE if job.key in scores else state
    return Results(cells, states, scores)


def picture_states(folder: CompareFolder, plan: ComparePlan) -> dict[str, State]:
    """What became of each job's picture, by the job's key."""
    there = {path.stem for path in (folder.path / "pictures").glob("*.png")}
    failed = Failures.of(folder)
    states: dict[str, State] = {}
    for job in plan.jobs:
        broken = plan.layouts_by_id[job.layout].layout is None
        state = State.FAILED if broken or job.refused else failed.state(job)
        states[job.key] = State.DONE if job.key in there else state
    return states


@dataclass(frozen=True)
class Failures:
    """The keys of what failed: jobs in any stage up to a metric's, and depth maps."""

    jobs: frozenset[str]
    depths: frozenset[str]

    @classmethod
    def of(
        cls, folder: CompareFolder, metric: str | None = None, detector: str | None = None
    ) -> Failures:
        """Read which failures there are: of pictures, or of a metric's scores."""
        stages = [RENDER]
        stages += [] if detector is None else [detect_stage(detector)]
        stages += [] if metric is None else [score_stage(metric)]
        jobs = {key for stage in stages for key in _failed(folder, stage)}
        return cls(frozenset(jobs), frozenset(_failed(folder, DEPTH)))

    def state(self, job: PlannedJob) -> State:
        """What became of a job that has no result."""
        lost = job.key in self.jobs or (job.depth or "") in self.depths
        return State.FAILED if lost else State.PENDING


def reasons(folder: CompareFolder) -> Iterator[tuple[str, str, str]]:
    """(stage, key, error) of every failure there is."""
    for file in sorted((folder.path / "failures").glob("*/*.json")):
        try:
            error = str(json.loads(file.read_bytes()).get("error", ""))
        except (ValueError, AttributeError):
            error = ""
        yield file.parent.name, file.stem, error


def _failed(folder: CompareFolder, stage: str) -> Iterator[str]:
    return (file.stem for file in folder.failure(stage, "*").parent.glob("*.json"))


def _read_scores(
    folder: CompareFolder, plan: ComparePlan, name: str
) -> Iterator[tuple[str, PictureScore]]:
    counts = {one.id: len(one.layout.instances) for one in plan.layouts if one.layout is not None}
    for job in plan.jobs:
        try:
            score = read_score(folder.score(name, job.key).read_bytes())
        except (OSError, DataError):
            continue
        if len(score.instances) == counts.get(job.layout):
            yield job.key, score
