"""``threedis doctor``: what is there, what is missing, and how to get it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from threedis_core.cli import arguments, streams
from threedis_core.cli.state import state_of
from threedis_core.files.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from threedis_core.doctor import Examination, Report
    from threedis_core.machine import Machine
    from threedis_core.plugin.inspection import ModelPart
    from threedis_core.plugin.registrations import Kind

JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write one JSON document; - prints it.")
]
FITS = {True: "fits", False: "too large", None: "unknown"}


def doctor_command(
    context: typer.Context,
    renderers: arguments.RendererNames = None,
    depth_model: Annotated[str | None, typer.Option(help="Depth model.")] = None,
    region_refiner: Annotated[str | None, typer.Option(help="Region refiner.")] = None,
    estimators: Annotated[
        list[str] | None,
        typer.Option("--estimator", metavar="NAME", help="Depth estimator; may be repeated."),
    ] = None,
    settings: arguments.OptionSettings = None,
    config: arguments.ConfigFile = None,
    json_file: JsonFile = None,
) -> None:
    """Say what can work here: device, memory, files, and how to get what is missing.

    Loads no weights and needs no network. Renderers, depth models, region refiners and depth
    estimators are all looked at. Where some are named, here or in a --config, these alone are, and
    it ends with 1 unless everything that they need is there.
    """
    from threedis_core.doctor import examine, first_obstacle, is_named
    from threedis_core.files.atomic import check_writable
    from threedis_core.run.config import RunConfig

    if json_file not in (None, "-"):
        check_writable(json_file)
    asked = RunConfig.load(config) if config else RunConfig()
    flags = {
        "renderers": renderers or None,
        "depth_model": depth_model,
        "region_refiner": region_refiner,
    }
    asked = asked.overridden(flags).with_settings(settings or [])
    named = is_named(asked, estimators or [])
    with streams.plugins_print_to_stderr():
        report = examine(asked, state_of(context).registry, estimators or [])
    if json_file != "-":
        print_report(report, detailed=named)
    if json_file is not None:
        _write_json(report, json_file)
    for examined in report.examined if named else ():
        if obstacle := first_obstacle(examined):
            raise obstacle


def _write_json(report: Report, file: str) -> None:
    from threedis_core.files.atomic import write_atomically

    text = json.dumps(report.document(), indent=2)
    if file == "-":
        typer.echo(text)
    else:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, f"{text}\n".encode())


def print_report(report: Report, detailed: bool) -> None:
    """Print what the doctor has found; ``detailed`` with the files and the memory of each."""
    from rich.console import Console

    from threedis_core.doctor import SECTIONS

    console = Console(highlight=False, soft_wrap=False)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    console.print(_heading("Versions") + " " + streams.one_line(versions))
    console.print(_machine_table(report.machine))
    for kind in SECTIONS:
        if report.of(kind):
            console.print(_summary_table(report, kind))
    if detailed:
        for examined in report.examined:
            _print_details(console, examined, report.machine)
    else:
        typer.echo("The files and the memory of one: threedis doctor --renderer NAME")
    for failure in report.failures:
        line = f"plugin {failure.source} does not work: {failure.reason}"
        typer.secho(streams.one_line(line), fg="red")


def _machine_table(machine: Machine) -> Table:
    table = _table("Device", "", "Memory", "Free")
    for device in machine.devices:
        _add_row(table, device.name, device.model, _size(device.total), _size(device.free))
    return table


def _summary_table(report: Report, kind: Kind) -> Table:
    from rich.text import Text

    from threedis_core.doctor import recommended

    table = _table(
        # Two lines, to leave room for names in a terminal of 80 columns.
        *(kind.capitalize(), "Ready", "Device", "Number\nformat", "Missing\nfiles", "Offload")
    )
    for examined in report.of(kind):
        found = examined.inspection
        missing = sum(1 for _ in found.missing())
        fitting = recommended(report.machine, found) or "nothing fits"
        _add_row(
            table,
            examined.name,
            Text("yes", "green") if found.ready else Text("no", "red"),
            found.device or "any",
            found.dtype or "any",
            str(missing) if missing else "none",
            fitting if found.memory else "",
        )
    return table


def _print_details(console: Console, examined: Examination, machine: Machine) -> None:
    from threedis_core.doctor import recommended

    found = examined.inspection
    console.print()
    console.print(_heading(examined.name))
    for source, parts in groupby(found.parts, lambda part: part.source):
        _print_parts(console, source, list(parts))
    if found.memory:
        table = _table("Offload", "On the device", "Main memory", "Here")
        for need in found.memory:
            fits = FITS[machine.fits(need, found.device)]
            _add_row(table, need.offload, _size(need.device), _size(need.main), fits)
        console.print(table)
        streams.echo(f"Memory: {found.memory_basis}.")
        if len(found.memory) > 1:
            best = recommended(machine, found) or f"{found.memory[-1].offload}, and even that not"
            streams.echo(f"What fits into what is free now, and offload=auto takes: {best}.")
    for line in (*found.notes, *(f"Problem: {problem}" for problem in found.problems)):
        streams.echo(line)
    if found.commands:
        typer.echo("Get what is missing:")
        for command in found.commands:
            streams.echo(f"  {command}")


def _print_parts(console: Console, source: str, parts: Sequence[ModelPart]) -> None:
    """Print the parts from one source, and each file that is missing on a line of its own."""
    streams.echo(f"From {source}:")
    table = _table("Part", "Files", "Size")
    for part in parts:
        there = len(part.files) - len(part.missing)
        _add_row(table, part.name, f"{there} of {len(part.files)}", _size(part.size))
    console.print(table)
    for path in (path for part in parts for path in part.missing):
        streams.echo(f"  Missing: {path}")


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add_row(table: Table, *cells: str | Text) -> None:
    """Add a row of plain text: a path may hold what rich takes for markup, or a terminal obeys."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells))


def _heading(text: str) -> Text:
    from rich.text import Text

    return Text(printable(text), "bold")


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    if size == 0:
        return "none"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
