"""``threedis layout schema`` and ``threedis config schema``: what files may say, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def config_app() -> typer.Typer:
    """The command group ``config``."""
    app = typer.Typer(no_args_is_help=True, help="Print the schema of a config of runs.")
    app.callback()(_group)  # else the only command would be the group
    app.command("schema")(config_schema_command)
    return app


def layout_schema_command() -> None:
    """Print the JSON schema of a layout file, for editors and forms."""
    from threedis_core.values.layout import Layout

    _print(Layout)


def config_schema_command() -> None:
    """Print the JSON schema of a config of runs, for editors and forms."""
    from threedis_core.run.config import RunConfig

    _print(RunConfig)


def _print(model: type[BaseModel]) -> None:
    from threedis_core.files.schemas import file_schema

    typer.echo(json.dumps(file_schema(model), indent=2))


def _group() -> None:
    """Print the schema of a config of runs."""
