"""From a comparison's folder to what its page shows."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan, PlannedJob, PlannedLayout, PlannedSystem
from threedis_core.compare.report import summary, words
from threedis_core.compare.report.judged import Judgements
from threedis_core.compare.report.page import (
    Depth,
    Failure,
    Figure,
    Instance,
    Line,
    Picture,
    Report,
    Row,
    State,
    System,
)

MOST_SOURCES = 12
"""Files of layouts that are named one by one."""
Reason = tuple[str, str]
"""A stage, and why a job failed in it."""


def read_report(path: Path) -> Report:
    """Read all that the page of a comparison shows; pictures themselves are not opened.

    Args:
        path: The comparison's folder. Beside its plan everything may be missing; the page says so.
    Raises:
        OptionError: No plan, or one that cannot be read.
    """
    folder = CompareFolder(path)
    plan = folder.read_plan()
    told = summary.read_data(folder.summary)
    reader = _Reader(folder, plan)
    rows = [reader.row(layout) for layout in plan.layouts]
    made = [p for row in rows for line in row.lines for p in line.pictures]
    return Report(
        title=_title(plan),
        folder=path,
        primary=plan.primary or "",
        baseline=plan.baseline if len(plan.systems) > 1 else "",
        systems=[_system(system, made, told, plan) for system in plan.systems],
        figures=_primary_first(summary.figures(told), plan.primary),
        cells=summary.cells(told),
        rows=rows,
        failures=reader.failures(),
        facts=list(_facts(folder, plan)),
        missing=[*_missing(made, plan, told), *summary.notes(told)],
    )


class _Reader:
    """Reads the files of a folder, each when it is needed."""

    def __init__(self, folder: CompareFolder, plan: ComparePlan) -> None:
        self._folder, self._plan = folder, plan
        self._judged = Judgements(folder, plan)
        self._jobs: dict[str, list[PlannedJob]] = defaultdict(list)
        for job in plan.jobs:
            self._jobs[job.layout].append(job)
        self._failed = dict(_failures(folder))
        self._order = {system.name: index for index, system in enumerate(plan.systems)}

    def row(self, planned: PlannedLayout) -> Row:
        """A layout and its pictures."""
        layout, jobs = planned.layout, self._jobs[planned.id]
        instances = [Instance(i.prompt, i.box.xyxy) for i in layout.instances] if layout else []
        sizes = [job.size for job in jobs if job.size]
        own = (layout.width, layout.height) if layout and layout.width and layout.height else None
        boxes = [instance.box for instance in instances]
        return Row(
            name=f"layout {planned.id}" if planned.id.isdecimal() else planned.id,
            prompt=layout.prompt if layout else planned.error,
            instances=instances,
            lines=list(self._lines(jobs, boxes)),
            strata={} if planned.level is None else {"level": f"L{planned.level}"},
            size=sizes[0] if sizes else own or (512, 512),
        )

    def _lines(self, jobs: Sequence[PlannedJob], boxes: Sequence[Any]) -> Iterator[Line]:
        """A line for each seed and depth seed, in the plan's order."""
        lines: dict[tuple[int, int], list[PlannedJob]] = defaultdict(list)
        for job in jobs:
            lines[job.seed, self._depth_seed(job)].append(job)
        shown: set[str] = set()
        for (seed, depth_seed), mine in sorted(lines.items()):
            mine.sort(key=lambda job: self._order[job.system])
            several = len(self._plan.depth_seeds) > 1
            label = f"seed {seed}" + (f", depth seed {depth_seed}" if several else "")
            keys = dict.fromkeys(job.depth for job in mine if job.depth is not None)
            depths = [self._depth(key) for key in keys if key not in shown]
            shown.update(keys)
            yield Line(label, depths, [self._picture(job, boxes) for job in mine])

    def _depth_seed(self, job: PlannedJob) -> int:
        depth = self._plan.depths_by_key.get(job.depth or "")
        return depth.seed if depth else self._plan.depth_seeds[0]

    def _depth(self, key: str) -> Depth:
        models = len(self._plan.depth_models)
        label = self._plan.depths_by_key[key].depth_model if models > 1 else "depth"
        return Depth(label, _there(self._folder.depth(key)))

    def _picture(self, job: PlannedJob, boxes: Sequence[Any]) -> Picture:
        file = _there(self._folder.picture(job.key))
        if file is None:
            reason = self._reason(job)
            state: State = "not done" if reason is None else "failed"
            return Picture(job.key, job.system, state, note=reason[1] if reason else "")
        judged = self._judged.of(job.key, boxes)
        return Picture(
            job.key, job.system, "done", file, judged.score, judged.verdicts, judged.values
        )

    def _reason(self, job: PlannedJob) -> Reason | None:
        """Why there is no picture, if it is known that there will be none."""
        no_depth = self._failed.get(("depth", job.depth or ""))
        found = self._failed.get(("render", job.key)) or no_depth
        return ("render", job.refused) if found is None and job.refused else found

    def failures(self) -> list[Failure]:
        """Why pictures or what is said of them are missing, the most frequent reason first."""
        groups: dict[Reason, list[str]] = defaultdict(list)
        for job in self._plan.jobs:
            if _there(self._folder.picture(job.key)) is None:
                reason = self._reason(job)
                if reason is not None:
                    groups[reason].append(job.system)
        for (stage, key), reason in self._failed.items():
            job = self._plan.jobs_by_key.get(key)
            if job is not None and _result(self._folder, stage, key) is None:
                groups[reason].append(job.system)
        found = [
            Failure(reason, stage, list(dict.fromkeys(systems)), len(systems))
            for (stage, reason), systems in groups.items()
        ]
        return sorted(found, key=lambda failure: -failure.count)


def _failures(folder: CompareFolder) -> Iterator[tuple[tuple[str, str], Reason]]:
    """What has failed: by stage and key, the stage and why."""
    for file in sorted((folder.path / "failures").glob("*/*.json")):
        stage = file.parent.name
        error = summary.read_data(file).get("error") or "no reason was given"
        yield (stage, file.stem), (stage, str(error))


def _result(folder: CompareFolder, stage: str, key: str) -> Path | None:
    """What a later stage has made of a picture after all; pictures are looked for elsewhere."""
    kind, _, name = stage.partition("-")
    if kind == "detect":
        return _there(folder.detection(name, key))
    return _there(folder.score(name, key)) if kind == "score" else folder.picture(key)


def _there(file: Path) -> Path | None:
    return file if file.is_file() else None


def _system(
    planned: PlannedSystem, made: Sequence[Picture], told: Mapping[str, Any], plan: ComparePlan
) -> System:
    mine = [picture.state for picture in made if picture.system == planned.name]
    seconds, loading, memory = summary.costs(told, planned.name)
    options = {name: v for name, v in plan.options_of(planned).items() if v is not None}
    if planned.renderer is not None:
        options |= {"control": planned.control, "regions": planned.region_refiner}
        options |= {f"regions.{name}": value for name, value in planned.refiner_options.items()}
    return System(
        name=planned.name,
        base=planned.name.partition("@")[0],
        options=options,
        planned=len(mine),
        done=mine.count("done"),
        failed=mine.count("failed"),
        seconds=seconds,
        loading=loading,
        memory=memory,
    )


def _title(plan: ComparePlan) -> str:
    systems = words.counted(len(plan.systems), "system")
    return f"{systems} on {words.counted(len(plan.layouts), 'layout')}"


def _primary_first(figures: list[Figure], primary: str | None) -> list[Figure]:
    return sorted(figures, key=lambda figure: figure.key != primary)


def _missing(made: Sequence[Picture], plan: ComparePlan, told: Mapping[str, Any]) -> Iterator[str]:
    """What the page lacks, and the way to it."""
    if not told:
        how = "run threedis compare score" if plan.metrics else "the plan names no metric"
        yield f"No figures yet: {how}."
    undone = sum(picture.state == "not done" for picture in made)
    if undone:
        yield (
            f"{words.counted(undone, 'picture')} of {len(made):,} {'is' if undone == 1 else 'are'} "
            "not done: the same command goes on. The figures are of what is there."
        )
    unjudged = sum(p.state == "done" and not p.verdicts and not p.values for p in made)
    if told and unjudged:
        yield f"{words.counted(unjudged, 'picture')} without a score."


def _facts(folder: CompareFolder, plan: ComparePlan) -> Iterator[tuple[str, str]]:
    """What somebody needs who wants the same numbers."""
    yield "Plan", f"SHA-256 {hashlib.sha256(folder.plan.read_bytes()).hexdigest()}"
    yield "Versions", ", ".join(f"{name} {value}" for name, value in plan.versions.items())
    yield "Seeds", ", ".join(map(str, plan.seeds))
    yield "Depth seeds", ", ".join(map(str, plan.depth_seeds))
    for model in plan.depth_models:
        options = {name: value for name, value in model.options.items() if value is not None}
        yield "Depth model", f"{model.name} {_short(options)}".strip()
    yield "Primary figure", plan.primary or "none"
    yield "Baseline", plan.baseline
    for name, options in plan.metrics.items():
        yield "Metric", f"{name} {_short(options)}".strip()
    for name, options in plan.detectors.items():
        yield "Judge", f"{name} {_short(options)}".strip()
    yield from _sources(plan)
    yield "Threads of torch", str(plan.threads)
    for system in plan.systems:
        if system.weights:
            joined = "\n".join(
                f"{name} {digest}" for name, digest in sorted(system.weights.items())
            )
            digest = hashlib.sha256(joined.encode()).hexdigest()
            files = words.counted(len(system.weights), "file")
            yield f"Weights of {system.name}", f"{files} that plan.json lists, of all {digest}"


def _sources(plan: ComparePlan) -> Iterator[tuple[str, str]]:
    """Where the layouts come from; a benchmark's have a digest each, and are told as one."""
    digests: dict[str, list[str]] = defaultdict(list)
    for layout in plan.layouts:
        digests[layout.source].append(layout.sha256)
    for source, found in list(digests.items())[:MOST_SOURCES]:
        joined = "\n".join(found).encode()
        one = found[0] if len(set(found)) == 1 else hashlib.sha256(joined).hexdigest()
        yield "Layouts", f"{len(found):,} of {source}, SHA-256 {one}"
    if len(digests) > MOST_SOURCES:
        yield "Layouts", f"{len(digests) - MOST_SOURCES:,} more sources: see plan.json"


def _short(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())
