"""Several layouts in one call: a folder for each, models loaded once, and a sheet of all."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from threedis_core.errors import InputError, retold
from threedis_core.files.png import write_png
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig
from threedis_core.run.folder import (
    ANOTHER,
    RUN_JSON,
    RUNS,
    folder_taken,
    newest_runs,
    not_empty,
    runs_among,
    told_as_not_written,
)
from threedis_core.run.lending import Lender
from threedis_core.run.loop import carry_out_all
from threedis_core.run.plan import RunPlan, plan_run
from threedis_core.run.record.earlier import can_go_on, is_finished
from threedis_core.run.record.files import SHEET
from threedis_core.run.record.sheet import SheetOfRun, draw_side_by_side
from threedis_core.run.result import Previews, Run
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

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
        why = "holds one run, and several layouts need a folder of their own"
        raise folder_taken(folder, why, ANOTHER)
    others = sorted(found - {SHEET, *names})
    if runs := runs_among(folder, others):
        raise folder_taken(folder, f"holds runs of other layouts ({runs})", ANOTHER)
    if others or (SHEET in found and not found & set(names)):
        raise not_empty(folder)


def plan_group(
    configs: Sequence[RunConfig],
    registry: PluginRegistry,
    layouts: Sequence[Layout],
    names: Sequence[str],
    depth: DepthMap | None = None,
) -> list[RunPlan]:
    """Plan every layout; see ``plan_run``.

    Args:
        configs: What is asked for each.
        registry: The plugins.
        layouts: What is where.
        names: How an error that only one of them has is told apart.
        depth: The depth map of all; None: as the configs say.
    Raises:
        InputError: Something that does not fit; with a name if it fits other layouts.
        PluginError: A backend's class cannot be used.
        WeightsError: A model is missing.
    """
    plans: list[RunPlan] = []
    failed: list[tuple[str, InputError]] = []
    for config, layout, name in zip(configs, layouts, names, strict=True):
        try:
            plans.append(plan_run(config, registry, layout, depth))
        except InputError as error:
            failed.append((name, error))
        if failed and plans:
            name, error = failed[0]
            raise retold(error, type(error), f"{name}: {error}") from error
    if failed:
        raise failed[0][1]
    return plans


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
