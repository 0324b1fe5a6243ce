"""``threedis compare report``: the page of a comparison, again, from what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import streams
from threedis_core.cli.progress import progress_bars

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a comparison.")]


def report_command(folder: Folder) -> None:
    """Write report.html: tables, charts and all pictures in one file that needs no network.

    With more than 5,000 pictures it is a folder, report/index.html.
    """
    from threedis_core.compare.report import write_report

    with progress_bars() as progress:
        page = write_report(folder, progress)
    streams.echo(page)
