"""Carry out what ``threedis render`` is asked, and say so."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from threedis_core.cli import streams
from threedis_core.cli.run.told import told_progress
from threedis_core.errors import OptionError

if TYPE_CHECKING:
    from threedis_core.plugin.registry import PluginRegistry
    from threedis_core.run.config import RunConfig
    from threedis_core.run.plan import RunPlan
    from threedis_core.run.result import Run


def render_one(asked: RunConfig, registry: PluginRegistry, as_json: bool) -> None:
    """Render one layout into its folder, print the pictures and the sheet."""
    from threedis_core.run.folder import run_slug
    from threedis_core.run.loop import carry_out
    from threedis_core.run.plan import plan_run
    from threedis_core.run.record.earlier import unfinished_run

    layout = asked.read_layout()
    what = _what(asked, [str(asked.layout)])
    with told_progress(*what) as told, streams.plugins_print_to_stderr():
        with told.preparing():
            plan = plan_run(asked, registry, layout)
        slug = run_slug(layout.prompt)
        with _folder(asked.out, unfinished_run(plan, slug), slug) as folder:
            told.folder, plan = folder, plan.into(folder)
            run = carry_out(plan, told)
    _warn([plan], [run], registry)
    if as_json:
        document: dict[str, Any] = {"folder": str(folder), **run.record}
        typer.echo(json.dumps(document, indent=2))
        return
    _print_files([run])
    streams.echo(str(run.sheet))


def render_group(
    asked: RunConfig,
    files: Sequence[Path],
    registry: PluginRegistry,
    as_json: bool,
) -> None:
    """Render several layouts, each into a folder of its own, and draw a sheet of all."""
    from threedis_core.run.group import (
        carry_out_group,
        check_group_folder,
        folder_names,
        plan_group,
        unfinished_group,
    )

    if asked.image_id is not None:
        raise OptionError("--image-id belongs to one layout file; give one file at a time")
    configs = [asked.model_copy(update={"layout": file, "out": None}) for file in files]
    layouts = [config.read_layout() for config in configs]
    names = folder_names([file.stem for file in files])
    if asked.out is not None:
        check_group_folder(asked.out, names)
    slug = f"{len(files)}-layouts"
    what = _what(asked, list(map(str, files)))
    with told_progress(*what) as told, streams.plugins_print_to_stderr():
        with told.preparing():
            plans = plan_group(configs, registry, layouts, list(map(str, files)))
        unfinished = unfinished_group(plans, names, slug)
        with _folder(asked.out, unfinished, slug) as folder:
            told.folder = folder
            group = carry_out_group(plans, names, folder, told)
    _warn(plans, group.runs, registry)
    if as_json:
        runs = [{"folder": str(run.folder), **run.record} for run in group.runs]
        document = {"folder": str(folder), "sheet": str(group.sheet), "runs": runs}
        typer.echo(json.dumps(document, indent=2))
        return
    _print_files(group.runs)
    streams.echo(str(group.sheet))


@contextmanager
def _folder(asked: Path | None, unfinished: Path | None, slug: str) -> Generator[Path]:
    """The folder that was asked for, else that of the same command unfinished, else a new one."""
    from threedis_core.run.folder import default_run_folder

    if (known := asked or unfinished) is not None:
        yield known
        return
    with default_run_folder(slug, datetime.now()) as made:
        yield made


def _what(asked: RunConfig, layouts: Sequence[str]) -> tuple[str, int]:
    """What is going to be done, and how many pictures that are."""
    shown = ", ".join(layouts[:3]) + (", ..." if len(layouts) > 3 else "")
    count = len(layouts) * len(asked.renderers) * len(asked.seeds) * len(asked.controls)
    return f"{shown} with {', '.join(asked.renderers)}", count


def _warn(plans: Sequence[RunPlan], runs: Sequence[Run], registry: PluginRegistry) -> None:
    contested = dict.fromkeys(name for plan in plans for name in _contested_names(plan, registry))
    for warning in contested:
        streams.warn(warning)
    for run in runs:
        where = f"{run.folder.name}: " if run.folder is not None and len(runs) > 1 else ""
        for warning in run.warnings:
            streams.warn(where + warning)


def _contested_names(plan: RunPlan, registry: PluginRegistry) -> list[str]:
    """What is to be said of the names in a run that two plugins want: one of them has it."""
    from threedis_core.run.config import registered_name

    used = {registered_name(renderer.name) for renderer in plan.renderers}
    used.add(plan.config.region_refiner.name)
    used.add(getattr(plan.depth, "name", ""))
    return [failure.reason for failure in registry.failures if failure.name in used - {""}]


def _print_files(runs: Sequence[Run]) -> None:
    for run in runs:
        for image in run.images:
            streams.echo(str(image.file))
