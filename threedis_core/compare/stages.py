"""The stages of a comparison: depth maps and pictures, findings, scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from threedis_core.compare.folder import DEPTH, RENDER, detect_stage, score_stage
from threedis_core.compare.plan.models import PlannedJob
from threedis_core.compare.scoring.stored import is_current, read_of
from threedis_core.compare.work.driver import Driver
from threedis_core.compare.work.failing import failure_of
from threedis_core.compare.work.ledger import Ledger
from threedis_core.compare.work.tasks import Failure
from threedis_core.compare.work.units import Share, depth_units, judge_units, render_units
from threedis_core.errors import DataError, ThreeDISError
from threedis_core.files.pictures import open_picture
from threedis_core.files.png import png_bytes
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.plugin.judging.interfaces import InstanceDetector, Metric
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.lending import share_a_load
from threedis_core.run.record.portable_paths import at_home


@dataclass(eq=False)
class Work:
    """What all stages work with.

    Args:
        share: The jobs.
        registry: The plugins.
        ledger: Where everything is written.
        driver: What does it.
        here: Whether the workers are on this machine, so that it must have the weights.
        warn: Told what is worth knowing, in one line.
        problems: Why a detector or a metric could not work at all.
    """

    share: Share
    registry: PluginRegistry
    ledger: Ledger
    driver: Driver
    here: bool
    warn: Callable[[str], None]
    problems: list[str] = field(default_factory=list[str])


def render_stage(work: Work) -> None:
    """Make what is missing of the depth maps and the pictures.

    Raises:
        WeightsError: No renderer can work here.
        RenderError: A file cannot be written.
    """
    share, ledger = work.share, work.ledger
    _take_others(work)
    waiting = _missing(share)
    for job in waiting:
        if job.refused:
            ledger.fail(RENDER, [job.key], Failure(job.refused, "bad-input"))
    _check_renderers(work, [job for job in waiting if not job.refused])
    work.driver.run(DEPTH, depth_units(share))
    for job in _missing(share):
        if share.failed(DEPTH, str(job.depth)):
            failure = Failure(f"its depth map failed: see failures/{DEPTH}/{job.depth}.json")
            ledger.fail(RENDER, [job.key], failure)
    work.driver.run(RENDER, render_units(share, _order(work)))


def detect_stage_of(work: Work, name: str) -> None:
    """Let a detector look at the pictures that it has not seen.

    Raises:
        RenderError: A file cannot be written.
    """
    share, folder = work.share, work.share.folder
    options = at_home(share.plan.detectors[name], folder.path, missing=True)
    detector = work.registry.choose(InstanceDetector, name, options).backend

    def current(job: PlannedJob) -> bool:
        found = _content(folder.detection(name, job.key))
        return found is not None and is_current(found, detector)

    units = judge_units(share, "detect", name, current)
    if units and _able(work, detector, f"instance detector '{name}'"):
        work.driver.run(detect_stage(name), units)


def score_stage_of(work: Work, name: str) -> None:
    """Let a metric score what it has not.

    Raises:
        RenderError: A file cannot be written.
    """
    share, folder = work.share, work.share.folder
    options = at_home(share.plan.metrics[name], folder.path, missing=True)
    metric = work.registry.choose(Metric, name, options).backend
    reads = metric.detector

    def current(job: PlannedJob) -> bool:
        found = _content(folder.score(name, job.key))
        if found is None or not is_current(found, metric):
            return False
        return reads is None or _is_of(found, folder.detection(reads, job.key))

    units = judge_units(share, "score", name, current, reads)
    if units and _able(work, metric, f"metric '{name}'"):
        work.driver.run(score_stage(name), units)


def forgive(work: Work, stages: Sequence[str]) -> None:
    """Forget the failures of the share's jobs in some stages, so that they are tried again."""
    jobs = [job.key for job in work.share.jobs() if not job.refused]
    for stage in stages:
        keys = [depth.key for depth in work.share.depths()] if stage == DEPTH else jobs
        work.ledger.forgive(stage, keys)


def _missing(share: Share) -> list[PlannedJob]:
    """The share's jobs of our own that are neither done nor failed."""
    return [
        job
        for job in share.jobs()
        if job.depth is not None
        and not share.folder.picture(job.key).exists()
        and not share.failed(RENDER, job.key)
    ]


def _take_others(work: Work) -> None:
    """Take the pictures that other tools have made, as PNG."""
    share = work.share
    for job in share.jobs():
        if job.file is None or share.folder.picture(job.key).exists():
            continue
        if share.failed(RENDER, job.key):
            continue
        if job.refused:
            work.ledger.fail(RENDER, [job.key], Failure(job.refused, "bad-input"))
            continue
        try:
            content = _as_png(Path(at_home(job.file, share.folder.path, missing=True)))
        except ThreeDISError as error:
            work.ledger.fail(RENDER, [job.key], failure_of(error))
            continue
        work.ledger.keep(RENDER, None, {job.key: content})
        work.ledger.tell("done", stage=RENDER, job=job.key, seconds={}, memory=None)


def _as_png(place: Path) -> bytes:
    picture = open_picture(place, DataError, "a picture", ("PNG", "JPEG", "WEBP"))
    if picture.format == "PNG" and picture.mode == "RGB":
        return place.read_bytes()
    return png_bytes(picture.convert("RGB"))


def _check_renderers(work: Work, jobs: Sequence[PlannedJob]) -> None:
    """See whether each renderer can work here; the jobs of one that cannot have failed.

    Raises:
        ThreeDISError: None of them can.
    """
    names = dict.fromkeys(job.system for job in jobs)
    problems: dict[str, ThreeDISError] = {}
    for name in names if work.here else ():
        try:
            with failures_named(f"renderer '{name}'"):
                _renderer(work, name).check()
        except ThreeDISError as error:
            problems[name] = error
    if problems and len(problems) == len(names):
        raise next(iter(problems.values()))
    for name, error in problems.items():
        failure = failure_of(error)
        work.warn(f"{name}: {failure.error}; its pictures are recorded as failed")
        work.ledger.fail(RENDER, [job.key for job in jobs if job.system == name], failure)


def _renderer(work: Work, name: str) -> RenderBackend:
    system = work.share.plan.systems_by_name[name]
    options = at_home(system.options, work.share.folder.path, missing=True)
    return work.registry.choose(RenderBackend, str(system.renderer), options).backend


def _order(work: Work) -> list[str]:
    """The systems, those that load the same model one after another."""
    groups: list[list[tuple[str, RenderBackend]]] = []
    for system in work.share.plan.systems:
        if system.renderer is None:
            continue
        backend = _renderer(work, system.name)
        same = next((one for one in groups if share_a_load(one[0][1], backend)), None)
        if same is None:
            groups.append([(system.name, backend)])
        else:
            same.append((system.name, backend))
    return [name for group in groups for name, _ in group]


def _able(work: Work, backend: InstanceDetector | Metric, who: str) -> bool:
    """Whether a detector or a metric can work here; if not, nothing of it is done."""
    if not work.here:
        return True
    try:
        with failures_named(who):
            backend.check()
    except ThreeDISError as error:
        work.problems.append(f"{who} cannot work: {error}")
        return False
    return True


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _is_of(score: bytes, detection: Path) -> bool:
    """Whether a score was made of the findings that are stored now."""
    found = _content(detection)
    return found is not None and read_of(score) == sha256(found).hexdigest()
