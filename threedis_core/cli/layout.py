"""``threedis layout check|draw|schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import streams
from threedis_core.cli.arguments import Height, ImageId, LayoutFile, RendererNames, Width
from threedis_core.cli.schemas import layout_schema_command
from threedis_core.cli.state import state_of

DEFAULT_SIDE = 512


def layout_app() -> typer.Typer:
    """The command group ``layout``."""
    app = typer.Typer(no_args_is_help=True, help="Check and draw layout files; print their schema.")
    app.command("check")(check_command)
    app.command("draw")(draw_command)
    app.command("schema")(layout_schema_command)
    return app


def check_command(
    context: typer.Context,
    file: LayoutFile,
    image_id: ImageId = None,
    renderers: RendererNames = None,
    depth_model: Annotated[
        str | None, typer.Option(help="Depth model that is to draw it; see 'threedis plugins'.")
    ] = None,
    width: Width = None,
    height: Height = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the layout as one JSON document.")
    ] = False,
) -> None:
    """Say whether a layout file is right, and if not, what is wrong with it.

    With --renderer or --depth-model also what is likely to fail: what they were not trained on.
    """
    from threedis_core.formats.layout_files import read_layout

    layout = read_layout(file, image_id)
    if renderers or depth_model:
        from threedis_core.run.config import RunConfig
        from threedis_core.run.layout_check.models import check_for_models

        asked = {"renderers": renderers or None, "depth_model": depth_model}
        config = RunConfig().overridden({**asked, "width": width, "height": height})
        for note in check_for_models(config, layout, state_of(context).registry):
            streams.warn(f"likely to fail: {note}")
    if as_json:
        typer.echo(json.dumps(layout.to_dict(), indent=2))
        return
    count = len(layout.instances)
    masks = sum(instance.mask is not None for instance in layout.instances)
    facts = [f"{count} instance{'' if count == 1 else 's'}"]
    facts += [f"{masks} of them with a mask"] if masks else []
    facts += [f"{layout.width} x {layout.height}"] if layout.width else []
    streams.echo(f"{file}: ok, {', '.join(facts)}")


def draw_command(
    file: LayoutFile,
    image_id: ImageId = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write. Default: <name of FILE>-layout.png, here.")
    ] = None,
) -> None:
    """Draw a layout's boxes and prompts into a PNG."""
    from threedis_core.drawing.layout import draw_layout
    from threedis_core.files.png import check_png, write_png
    from threedis_core.formats.layout_files import read_layout

    out = out or Path(f"{file.stem}-layout.png")
    check_png(out, "--out")
    layout = read_layout(file, image_id)
    picture = draw_layout(layout, layout.width or DEFAULT_SIDE, layout.height or DEFAULT_SIDE)
    write_png(out, picture)
    streams.echo(out)
