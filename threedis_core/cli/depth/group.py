"""``threedis depth``: make depth maps."""

from __future__ import annotations

import typer

from threedis_core.cli.depth.estimate import estimate_command
from threedis_core.cli.depth.generate import generate_command


def depth_app() -> typer.Typer:
    """The command group ``depth``."""
    app = typer.Typer(help="Make depth maps.")
    app.callback()(_group)
    app.command("generate")(generate_command)
    app.command("estimate")(estimate_command)
    return app


def _group() -> None:
    """Make depth maps."""
