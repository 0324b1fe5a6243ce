"""What is left to do: batches of the plan of which a file is missing, and the tasks they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from threedis_core.compare.folder import DEPTH, RENDER, CompareFolder, detect_stage, score_stage
from threedis_core.compare.plan.models import ComparePlan, PlannedDepth, PlannedJob
from threedis_core.compare.scoring.batches import StoredPicture
from threedis_core.compare.work.claim import Shard
from threedis_core.compare.work.tasks import (
    DepthTask,
    JudgeTask,
    PictureJob,
    RenderTask,
    Task,
)
from threedis_core.values.layout import Layout

JUDGED_AT_ONCE = 8
"""Pictures that a detector or a metric gets at once."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Keys that are worked on together.

    Args:
        stage: In which stage.
        keys: All that are worked on, in order.
        wanted: Those that are not there yet; others are made again because a smaller batch has
            other pixels, and are not kept.
        make: Makes the task of some of the keys.
        batch: The batch's number in the plan, if it has one.
        deaths: How many workers died of it, or of the unit that it is a half of.
        halved: Why it is but a half of what was planned; "" if it is not.
    """

    stage: str
    keys: tuple[str, ...]
    wanted: frozenset[str]
    make: Callable[[tuple[str, ...]], Task]
    batch: int | None = None
    deaths: int = 0
    halved: str = ""

    def task(self) -> Task:
        """What a worker is given."""
        return self.make(self.keys)

    def halves(self, why: str) -> list[Unit]:
        """Its two halves, those of which something is wanted."""
        middle = (len(self.keys) + 1) // 2
        parts = (self.keys[:middle], self.keys[middle:])
        return [
            replace(self, keys=part, wanted=self.wanted & set(part), halved=why)
            for part in parts
            if self.wanted & set(part)
        ]


@dataclass(frozen=True, eq=False)
class Share:
    """The jobs of a plan that a process works on, and where their files are.

    Args:
        plan: The plan.
        folder: The comparison's folder.
        shard: Which share of it.
    """

    plan: ComparePlan
    folder: CompareFolder
    shard: Shard

    def jobs(self) -> list[PlannedJob]:
        """The jobs of the share."""
        own = {one.id for one in self.plan.layouts if self.shard.has(one)}
        return [job for job in self.plan.jobs if job.layout in own]

    def depths(self) -> list[PlannedDepth]:
        """The depth maps of the share, of layouts that can be read."""
        own = {one.id for one in self.plan.layouts if one.layout and self.shard.has(one)}
        return [depth for depth in self.plan.depths if depth.layout in own]

    def layout(self, name: str) -> Layout:
        """A layout that can be read."""
        return self.plan.readable_layout(name)

    def failed(self, stage: str, key: str) -> bool:
        """Whether a job failed in a stage."""
        return self.folder.failure(stage, key).exists()

    def pictured(self) -> list[PlannedJob]:
        """The jobs of the share whose pictures are there."""
        return [job for job in self.jobs() if self.folder.picture(job.key).exists()]


def depth_units(share: Share) -> list[Unit]:
    """The depth maps that are not there, one by one: a model's tries are its batch."""
    models = {one.name: one for one in share.plan.depth_models}

    def make(depth: PlannedDepth) -> Task:
        layout = share.layout(depth.layout)
        return DepthTask(depth.key, layout, models[depth.depth_model], depth.seed, depth.size)

    return [
        Unit(DEPTH, (one.key,), frozenset((one.key,)), lambda _, one=one: make(one))
        for one in share.depths()
        if not share.folder.depth(one.key).exists() and not share.failed(DEPTH, one.key)
    ]


def render_units(share: Share, order: Sequence[str]) -> list[Unit]:
    """The batches of which a picture is missing, system after system.

    Args:
        share: The jobs.
        order: The names of the systems in the order to render them.
    """
    batches: dict[int, list[PlannedJob]] = {}
    for job in share.jobs():
        if job.batch is not None:
            batches.setdefault(job.batch, []).append(job)
    rank = {name: place for place, name in enumerate(order)}
    chosen = sorted(batches.values(), key=lambda jobs: (rank[jobs[0].system], jobs[0].batch))
    return [unit for jobs in chosen if (unit := _render_unit(share, jobs)) is not None]


def _render_unit(share: Share, jobs: Sequence[PlannedJob]) -> Unit | None:
    folder, by_key = share.folder, {job.key: job for job in jobs}
    wanted = {
        job.key
        for job in jobs
        if not folder.picture(job.key).exists() and not share.failed(RENDER, job.key)
    }
    # Without its depth map a picture cannot be made; then it has failed.
    keys = tuple(job.key for job in jobs if folder.depth(str(job.depth)).exists())
    if not wanted & set(keys):
        return None

    def make(chosen: tuple[str, ...]) -> Task:
        first = by_key[chosen[0]]
        return RenderTask(
            system=share.plan.systems_by_name[first.system],
            jobs=tuple(_picture_job(share, by_key[key]) for key in chosen),
            batch=first.batch or 0,
            planned=len(jobs),
            steps=share.plan.config.get("steps"),
            guidance=share.plan.config.get("guidance"),
        )

    return Unit(RENDER, keys, frozenset(wanted & set(keys)), make, jobs[0].batch)


def _picture_job(share: Share, job: PlannedJob) -> PictureJob:
    assert job.size is not None
    depth = share.folder.depth(str(job.depth)).read_bytes()
    return PictureJob(job.key, job.layout, share.layout(job.layout), depth, job.seed, job.size)


def judge_units(
    share: Share,
    kind: Literal["detect", "score"],
    name: str,
    current: Callable[[PlannedJob], bool],
    reads: str | None = None,
) -> list[Unit]:
    """The pictures that a detector has not looked at, or a metric has not scored.

    Args:
        share: The jobs.
        kind: Which of the two.
        name: The detector or metric.
        current: Whether what is stored of a picture can stay.
        reads: The detector whose findings a metric reads; pictures without them are left out.
    """
    stage = detect_stage(name) if kind == "detect" else score_stage(name)
    options: dict[str, Any] = getattr(share.plan, "detectors" if kind == "detect" else "metrics")
    jobs = {job.key: job for job in share.pictured()}
    if reads is not None:
        jobs = {
            key: job for key, job in jobs.items() if share.folder.detection(reads, key).exists()
        }

    def make(chosen: tuple[str, ...]) -> Task:
        pictures = tuple(_stored(share, jobs[key], reads) for key in chosen)
        return JudgeTask(kind, name, options[name], pictures)

    missing = [key for key in jobs if not share.failed(stage, key) and not current(jobs[key])]
    return [Unit(stage, keys, frozenset(keys), make) for keys in _in_batches(jobs, missing)]


def _in_batches(jobs: dict[str, PlannedJob], keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Batches of keys that never hold two systems."""
    for _, group in groupby(keys, lambda key: jobs[key].system):
        own = list(group)
        for start in range(0, len(own), JUDGED_AT_ONCE):
            yield tuple(own[start : start + JUDGED_AT_ONCE])


def _stored(share: Share, job: PlannedJob, reads: str | None) -> StoredPicture:
    image = share.folder.picture(job.key).read_bytes()
    found = None if reads is None else share.folder.detection(reads, job.key).read_bytes()
    return StoredPicture(job.key, share.layout(job.layout), image, found)
