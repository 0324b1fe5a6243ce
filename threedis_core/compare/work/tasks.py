"""What a worker is given, and what it gives back: plain values that travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from threedis_core.compare.folder import DEPTH, RENDER, detect_stage, score_stage
from threedis_core.compare.plan.models import PlannedDepthModel, PlannedSystem
from threedis_core.compare.scoring.batches import StoredPicture
from threedis_core.values.layout import Layout


@dataclass(frozen=True)
class Setting:
    """What all tasks of a comparison have in common.

    Args:
        folder: The comparison's folder, absolute; a worker only tells paths relative to it.
        versions: As planned.
        threads: torch's threads.
    """

    folder: Path
    versions: Mapping[str, str]
    threads: int


@dataclass(frozen=True)
class DepthTask:
    """Make one depth map: the best of the model's tries."""

    key: str
    layout: Layout
    model: PlannedDepthModel
    seed: int
    size: tuple[int, int]

    @property
    def stage(self) -> str:
        """The stage's name."""
        return DEPTH


@dataclass(frozen=True)
class PictureJob:
    """One picture of a batch: ``place`` is its layout's id, ``depth`` its depth map's file."""

    key: str
    place: str
    layout: Layout
    depth: bytes
    seed: int
    size: tuple[int, int]


@dataclass(frozen=True)
class RenderTask:
    """Render a batch of pictures with one system.

    Args:
        system: Whose pictures.
        jobs: The pictures.
        batch: The number of the batch in the plan.
        planned: How many pictures the plan has in it; fewer are rendered where one of them cannot.
        steps: Asked of every picture; None: as the system's options say.
        guidance: Likewise.
    """

    system: PlannedSystem
    jobs: tuple[PictureJob, ...]
    batch: int
    planned: int
    steps: int | None = None
    guidance: float | None = None

    @property
    def stage(self) -> str:
        """The stage's name."""
        return RENDER


@dataclass(frozen=True, eq=False)
class JudgeTask:
    """Let a detector look at pictures, or a metric score them.

    Args:
        kind: Which of the two.
        name: The detector or metric as it is registered.
        options: What it is asked, paths told relative to the comparison's folder.
        pictures: As they are stored.
    """

    kind: Literal["detect", "score"]
    name: str
    options: Mapping[str, Any]
    pictures: tuple[StoredPicture, ...]

    @property
    def stage(self) -> str:
        """The stage's name."""
        return detect_stage(self.name) if self.kind == "detect" else score_stage(self.name)


Task = DepthTask | RenderTask | JudgeTask


@dataclass(frozen=True)
class Failure:
    """Why a task failed.

    Args:
        error: One line.
        code: As in ``threedis_core.errors``.
        out_of_memory: Whether half of it may succeed.
        for_all: Whether every other task of its kind fails likewise: its model is not there.
    """

    error: str
    code: str = "error"
    out_of_memory: bool = False
    for_all: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Args:
        made: The content of each file by its key; empty if the task failed.
        failure: Why it failed, if it did.
        seconds: How long each part took: "loading", "regions", "rendering", ...
        memory: The most memory that was in use, in bytes: the device's, else the process's.
        warnings: One line each.
    """

    made: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    failure: Failure | None = None
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: int | None = None
    warnings: tuple[str, ...] = ()
