"""``threedis sheet``: what runs made, in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import streams

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Folders of runs, or folders with runs in them."),
]


def sheet_command(
    runs: Runs,
    out: Annotated[
        str, typer.Option(metavar="PATH", help="PNG to write. Default: sheet.png, here.")
    ] = "sheet.png",
) -> None:
    """Draw what runs are made of and made: one run, or several side by side."""
    from threedis_core.files.png import check_png, write_png
    from threedis_core.run.record.reading import read_sheet, runs_in
    from threedis_core.run.record.sheet import draw_side_by_side

    file = Path(out)
    check_png(file, "--out")
    read = [read_sheet(run) for named in runs for run in runs_in(named)]
    write_png(file, read[0].draw() if len(read) == 1 else draw_side_by_side(read))
    streams.echo(file)
