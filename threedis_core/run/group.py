"""Several layouts in one call: a folder for each, models loaded once, and a sheet of all."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from threedis_core.errors import OptionError
from threedis_core.files.png import write_png
from threedis_core.files.printable import printable
from threedis_core.plugin.progress import Progress, silent
from threedis_core.run.folder import RUN_JSON, RUNS, newest_runs, not_empty, told_as_not_written
from threedis_core.run.lending import Lender
from threedis_core.run.loop import carry_out_all
from threedis_core.run.plan import RunPlan
from threedis_core.run.record.earlier import can_go_on, is_finished
from threedis_core.run.record.files import SHEET
from threedis_core.run.record.sheet import SheetOfRun, draw_side_by_side
from threedis_core.run.result import Previews, Run

LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Group:
    """What became of several layouts.

    Args:
        runs: A run for each, in order.
        sheet: Where the picture is that shows all of them; None if nothing was written.
    """

    runs: list[Run]
    sheet: Path | None


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each of ``names``: letters and digits of them, and all different."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w.@+-]+", "-", name).strip("-.")[:LONGEST_NAME] or "layout"
        free, number = plain, 2
        while free.lower() in {one.lower() for one in made}:
            free, number = f"{plain}-{number}", number + 1
        made.append(free)
    return made


def check_group_folder(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that holds something else than these runs and their sheet.

    Raises:
        OptionError: It does.
    """
    if not folder.is_dir():
        return  # what it is otherwise, each run's own check will say
    found = set(os.listdir(folder))
    if RUN_JSON in found:
        hint = "choose another folder with --out"
        raise OptionError(
            f"{printable(folder)} holds one run, and several layouts need a folder of their own; "
            f"{hint}",
            code="folder-taken",
            file=folder,
            path="out",
            hint=hint,
        )
    others = sorted(found - {SHEET, *names})
    if others or (SHEET in found and not found & set(names)):
        raise not_empty(folder)


def unfinished_group(plans: Sequence[RunPlan], names: Sequence[str], slug: str) -> Path | None:
    """The newest default folder of the same layouts, asked the same, that is not finished."""
    for folder in newest_runs(RUNS, slug):
        places = [folder / name for name in names]
        there = [place for place in places if (place / RUN_JSON).exists()]
        same = all(
            can_go_on(place, plan)
            for place, plan in zip(places, plans, strict=True)
            if place in there
        )
        open_ends = len(there) < len(places) or not all(map(is_finished, there))
        if there and same and open_ends:
            return folder
    return None


def carry_out_group(
    plans: Sequence[RunPlan],
    names: Sequence[str],
    folder: Path | None,
    progress: Progress = silent,
    lender: Lender | None = None,
    previews: Previews | None = None,
) -> Group:
    """Do several plans, each in its own folder in ``folder``; see ``carry_out_all``.

    Raises:
        RenderError: The sheet cannot be written.
    """
    if folder is None:
        return Group(carry_out_all(plans, progress, lender, previews), None)
    check_group_folder(folder, names)
    place = folder.absolute()  # a renderer may change the working directory
    placed = [plan.into(folder / name) for plan, name in zip(plans, names, strict=True)]
    runs = carry_out_all(placed, progress, lender, previews)
    sheets = [SheetOfRun.of(run, name) for run, name in zip(runs, names, strict=True)]
    with told_as_not_written(folder / SHEET):
        write_png(place / SHEET, draw_side_by_side(sheets))
    return Group(runs, folder / SHEET)
