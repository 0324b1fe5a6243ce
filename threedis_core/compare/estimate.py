"""What a comparison will take: jobs that are left, room on the disk, time."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from threedis_core.compare.folder import DEPTH, RENDER, CompareFolder
from threedis_core.compare.plan.keys import key_of
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.state import Counts, counts_by_stage, counts_by_system
from threedis_core.files.atomic import write_atomically
from threedis_core.run.stages.depth_cache import DepthCache

PICTURE_BYTES, DEPTH_BYTES, JUDGED_BYTES = 1.8, 1.3, 4000.0
"""Of a PNG per pixel; of a 16-bit depth PNG per pixel; of a file of findings or scores."""
SPEEDS = "speeds.json"


@dataclass(frozen=True)
class Estimate:
    """What is left of a comparison.

    Args:
        systems: How many pictures of each system there are.
        stages: How many files of each stage there are.
        disk: Bytes that what is left will take.
        free: Bytes that are free where it will lie.
        seconds: That one worker needs for what is left to render, as far as it is known.
        unknown: The systems of which nothing has been rendered on this machine yet.
    """

    systems: Mapping[str, Counts]
    stages: Mapping[str, Counts]
    disk: int
    free: int
    seconds: float
    unknown: tuple[str, ...]


def estimate(folder: CompareFolder, plan: ComparePlan) -> Estimate:
    """Estimate what is left; reads the folder, if it is there, and what was measured before."""
    systems, stages = counts_by_system(folder, plan), counts_by_stage(folder, plan)
    known = {**_remembered(plan), **measured(folder, plan)}
    depth_names = {f"{DEPTH} {one.name}" for one in plan.depth_models}
    own = [one.name for one in plan.systems if one.renderer is not None]
    waiting = [name for name in own if systems[name].left]
    seconds = sum(systems[name].left * known.get(name, 0.0) for name in waiting)
    each = [known[name] for name in depth_names if name in known]
    seconds += stages[DEPTH].left * (fmean(each) if each else 0.0)
    return Estimate(
        systems,
        stages,
        _disk(folder, plan, stages),
        _free(folder.path),
        seconds,
        tuple(name for name in waiting if name not in known),
    )


def measured(folder: CompareFolder, plan: ComparePlan) -> dict[str, float]:
    """Seconds that a picture of each system, and a depth map of each model, took in a folder."""
    of = {job.key: job.system for job in plan.jobs}
    of |= {depth.key: f"{DEPTH} {depth.depth_model}" for depth in plan.depths}
    took: dict[str, list[float]] = {}
    for event in folder.read_events():
        if event.get("kind") == "done" and event.get("stage") in (DEPTH, RENDER):
            name, seconds = of.get(str(event.get("job"))), event.get("seconds")
            if name is not None and isinstance(seconds, dict) and seconds:
                parts = cast("dict[str, float]", seconds)
                whole = sum(parts.values())  # of all that were made together
                took.setdefault(name, []).append(whole / int(event.get("size") or 1))
    return {name: fmean(each) for name, each in took.items()}


def remember(folder: CompareFolder, plan: ComparePlan) -> None:
    """Keep what was measured for the next estimate on this machine, if that can be written."""
    place, names = _speeds(), _names(plan)
    fresh = {names[name]: seconds for name, seconds in measured(folder, plan).items()}
    if place is None or not fresh:
        return
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**_read(place), **fresh}, indent=1, sort_keys=True)
        write_atomically(place, text.encode(), durable=False)


def _remembered(plan: ComparePlan) -> dict[str, float]:
    place = _speeds()
    if place is None:
        return {}
    known = _read(place)
    return {name: known[key] for name, key in _names(plan).items() if key in known}


def _names(plan: ComparePlan) -> dict[str, str]:
    """What speeds are remembered by: the machine, the options and the size of the pictures."""
    sizes: dict[str, Any] = {}
    for job in plan.jobs:
        sizes.setdefault(job.system, job.size)
    names = {
        one.name: key_of([platform.node(), one.renderer, one.options, one.control, sizes[one.name]])
        for one in plan.systems
        if one.renderer is not None and one.name in sizes
    }
    size = plan.depths[0].size if plan.depths else None
    for model in plan.depth_models:
        content = [platform.node(), model.name, model.options, model.tries, size]
        names[f"{DEPTH} {model.name}"] = key_of(content)
    return names


def _speeds() -> Path | None:
    folder = DepthCache.default().folder
    return None if folder is None else folder.parent / "compare" / SPEEDS


def _read(place: Path) -> dict[str, float]:
    with suppress(OSError, ValueError):
        found: object = json.loads(place.read_bytes())
        if isinstance(found, dict):
            speeds = cast("dict[str, Any]", found)
            return {key: one for key, one in speeds.items() if isinstance(one, float)}
    return {}


def _disk(folder: CompareFolder, plan: ComparePlan, stages: Mapping[str, Counts]) -> int:
    """Bytes of what is left: as much each as what is there already, else by its pixels."""
    pixels = [job.size[0] * job.size[1] for job in plan.jobs if job.size is not None]
    depths = [depth.size[0] * depth.size[1] for depth in plan.depths]
    usual = {
        RENDER: PICTURE_BYTES * fmean(pixels or [0]),
        DEPTH: DEPTH_BYTES * fmean(depths or [0]),
    }
    places = {RENDER: folder.picture("*"), DEPTH: folder.depth("*")}
    total = 0.0
    for stage, counts in stages.items():
        each = usual.get(stage, JUDGED_BYTES)
        if stage in places and counts.done:
            place = places[stage]
            each = fmean(file.stat().st_size for file in place.parent.glob(place.name))
        total += counts.left * each
    return round(total)


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
