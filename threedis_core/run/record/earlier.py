"""What an earlier run of the same command has left in its folder, to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from threedis_core.errors import InputError, OptionError
from threedis_core.files.pictures import open_picture
from threedis_core.files.printable import printable
from threedis_core.run.folder import CLAIM, PROVENANCE, RUN_JSON, RUNS, is_claimed, newest_runs
from threedis_core.run.plan import RunPlan
from threedis_core.run.record.differences import differences, first_told
from threedis_core.run.record.files import picture_name
from threedis_core.run.record.provenance import (
    pixel_checksum,
    planned_depth_facts,
    planned_facts,
)
from threedis_core.run.record.reading import DEPTH, LAYOUT, read_record
from threedis_core.run.result import RunImage
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

Key = tuple[str, str, int]
"""A picture of a run: its renderer's name, its control and its seed."""
PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True, eq=False)
class Earlier:
    """What is there already.

    Args:
        record: What its ``run.json`` says.
        depth: Its depth map.
        images: Its pictures, those that the plan asks for.
    """

    record: Mapping[str, Any]
    depth: DepthMap
    images: Mapping[Key, RunImage]


def picture_keys(plan: RunPlan) -> list[Key]:
    """Every picture that a run makes, in order."""
    config = plan.config
    return [
        (planned.name, control, seed)
        for planned in plan.renderers
        for control in config.controls
        for seed in config.seeds
    ]


def read_earlier(folder: Path | None, plan: RunPlan) -> Earlier | None:
    """What a run of the same plan has left in ``folder``; None if there is nothing to go on from.

    Raises:
        OptionError: What is there is of another plan, or was changed since.
    """
    if folder is None or not (folder / RUN_JSON).exists():
        return None
    record = read_record(folder)
    found = list(_differences(folder, record, plan))
    if found:
        told = first_told(found)
        raise OptionError(
            f"{printable(folder)} holds another run: {told}. Choose another folder with --out, or "
            "ask for the same to go on",
            code="folder-taken",
            file=folder,
            path="out",
            hint="choose another folder with --out, or ask for the same to go on",
        )
    if not (folder / DEPTH).exists():  # it was killed before its first picture
        return None
    depth = DepthMap.load(folder / DEPTH)
    if depth.checksum() != record.get("depth", {}).get("checksum"):
        raise OptionError(_changed(folder / DEPTH))
    images = {key: image for key in picture_keys(plan) if (image := _picture(folder, key, depth))}
    return Earlier(record, depth, images)


def unfinished_run(plan: RunPlan, slug: str) -> Path | None:
    """The newest default folder with an unfinished run of the same plan that nobody works at."""
    for folder in newest_runs(RUNS, slug):
        if not is_finished(folder) and can_go_on(folder, plan):
            return folder
    return None


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder is finished, or there is none."""
    try:
        return bool(read_record(folder).get("finished", True))
    except InputError:
        return True


def can_go_on(folder: Path, plan: RunPlan) -> bool:
    """Whether the run in a folder is of the same plan, and nobody works at it."""
    try:
        same = not list(_differences(folder, read_record(folder), plan))
    except (InputError, AttributeError, TypeError):  # it is damaged
        return False
    return same and not ((folder / CLAIM).exists() and is_claimed(folder))


def _picture(folder: Path, key: Key, depth: DepthMap) -> RunImage | None:
    """A picture that is there, as it was made; a torn one is none, and is made again."""
    renderer, control, seed = key
    file = folder / picture_name(renderer, seed, control)
    if not file.exists() or _is_torn(file):
        return None
    try:
        picture = open_picture(file, InputError, "a picture", ("PNG",))
    except InputError as error:
        raise OptionError(_changed(file)) from error
    try:
        facts: dict[str, Any] = json.loads(picture.info[PROVENANCE])
        made = (facts["renderer"], facts["control"], facts["seed"]) == key
        same = made and facts["depth_checksum"] == depth.checksum()
        if same and facts["pixel_checksum"] == pixel_checksum(picture):
            picture.info = {}
            return RunImage(renderer, seed, picture, facts, tuple(facts["warnings"]), file, control)
    except (KeyError, TypeError, ValueError):
        pass  # it is none of ours
    raise OptionError(_changed(file))


def _is_torn(file: Path) -> bool:
    """Whether a file is the beginning of a PNG, and no more: a disk may lose the rest."""
    content = file.read_bytes() if os.access(file, os.R_OK) and file.is_file() else b"?"
    return PNG_BEGIN.startswith(content[: len(PNG_BEGIN)]) and not content.endswith(PNG_END)


def _changed(file: Path) -> str:
    return (
        f"{printable(file)} is not what the run has written; move it away to have it made again, "
        "or choose another folder with --out"
    )


def _differences(folder: Path, record: Mapping[str, Any], plan: RunPlan) -> Iterator[str]:
    """What an earlier run was told otherwise than ``plan`` is, in a few words each."""
    now: dict[str, Any] = {**planned_facts(plan, folder)}
    for part in now:
        yield from differences(part, record.get(part), now[part])
    depth, facts = record.get("depth", {}), planned_depth_facts(plan, folder)
    for name, fact in facts.items():
        yield from differences(f"depth {name}", depth.get(name), fact)
    if isinstance(plan.depth, DepthMap):  # whoever made it, if it is the same
        if depth.get("checksum") != facts["checksum"]:
            yield from differences("depth model", depth.get("model"), None)
    else:
        tries = cast("list[Mapping[str, Any]]", depth.get("tries") or [{}])
        yield from differences("depth_seed", tries[0].get("seed"), plan.config.depth_seed)
        yield from differences("depth_tries", len(tries), plan.depth.tries)
    if (folder / LAYOUT).exists():
        earlier = Layout.load(folder / LAYOUT).to_dict()
        yield from differences("layout", earlier, plan.layout.to_dict())
