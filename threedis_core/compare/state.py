"""How far a comparison is: what is there, what failed, what is left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threedis_core.compare.folder import DEPTH, RENDER, CompareFolder, detect_stage, score_stage
from threedis_core.compare.plan.models import ComparePlan


@dataclass(frozen=True)
class Counts:
    """Of so many planned so many are done, and so many failed; the others are left."""

    planned: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """What is neither done nor failed."""
        return self.planned - self.done - self.failed


@dataclass(frozen=True)
class FailedJob:
    """A job that failed: in which stage, which one, and why."""

    stage: str
    job: str
    error: str


def counts_by_system(folder: CompareFolder, plan: ComparePlan) -> dict[str, Counts]:
    """How many pictures of each system there are."""
    planned, done, failed = Counter[str](), Counter[str](), Counter[str]()
    there = _names(folder.picture("*"))
    lost = _names(folder.failure(RENDER, "*"))
    for job in plan.jobs:
        planned[job.system] += 1
        done[job.system] += job.key in there
        failed[job.system] += job.key in lost and job.key not in there
    return {
        one.name: Counts(planned[one.name], done[one.name], failed[one.name])
        for one in plan.systems
    }


def counts_by_stage(folder: CompareFolder, plan: ComparePlan) -> dict[str, Counts]:
    """How many files of each stage there are."""
    keys = {job.key for job in plan.jobs}
    wanted = {DEPTH: {depth.key for depth in plan.depths}, RENDER: keys}
    places = {DEPTH: folder.depth("*"), RENDER: folder.picture("*")}
    for name in plan.detectors:
        stage = detect_stage(name)
        wanted[stage], places[stage] = keys, folder.detection(name, "*")
    for name in plan.metrics:
        stage = score_stage(name)
        wanted[stage], places[stage] = keys, folder.score(name, "*")
    found: dict[str, Counts] = {}
    for stage, place in places.items():
        there = _names(place) & wanted[stage]
        lost = (_names(folder.failure(stage, "*")) & wanted[stage]) - there
        found[stage] = Counts(len(wanted[stage]), len(there), len(lost))
    return found


def failed_jobs(folder: CompareFolder, plan: ComparePlan) -> Iterator[FailedJob]:
    """The jobs and depth maps that failed, stage by stage."""
    for stage in counts_by_stage(folder, plan):
        place = folder.failure(stage, "*")
        for file in sorted(place.parent.glob(place.name)):
            try:
                document: Any = json.loads(file.read_bytes())
                yield FailedJob(stage, file.stem, str(document["error"]))
            except (OSError, ValueError, KeyError, TypeError):
                yield FailedJob(stage, file.stem, "the record of its failure cannot be read")


def _names(pattern: Path) -> set[str]:
    """The stems of the files that a pattern fits."""
    return {file.stem for file in pattern.parent.glob(pattern.name)}
