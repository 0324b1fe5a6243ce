"""``threedis convert layout-adapter``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert_app() -> typer.Typer:
    """The command group ``convert``."""
    app = typer.Typer(no_args_is_help=True, help="Convert weights to safetensors.")
    app.callback()(_group)
    app.command("layout-adapter")(layout_adapter_command)
    return app


def layout_adapter_command(
    source: Annotated[Path, typer.Argument(help="Layout adapter: .ckpt, .pt or .safetensors.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Write a layout adapter as safetensors; the header says where it comes from."""
    from threedis_ldm3d.checkpoint import convert_adapter

    count = convert_adapter(source, target)
    typer.echo(f"{target}: {count} weights")


def _group() -> None:
    """Convert weights to safetensors."""
