"""``threedis render``: one run from a layout, from a config, or of an earlier run again."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of

if TYPE_CHECKING:
    from threedis_core.config import RunConfig
    from threedis_core.run import Run

EXAMPLES = """Examples:

threedis render scene.yaml --depth depth.png --renderer sd15

threedis render scene.yaml --seed 0 --seed 1 --set steps=30

threedis render scene.yaml --renderer sd15 --set sd15.model=my/sd15

threedis render --config runs/my-run/run.json --out runs/again"""


def render_command(
    context: typer.Context,
    layout: Annotated[
        Path | None, typer.Argument(help="Layout file, JSON or YAML; COCO with --image-id.")
    ] = None,
    depth: Annotated[
        Path | None, typer.Option(help="Depth map: PNG, other picture, or .npy; bright is near.")
    ] = None,
    depth_model: Annotated[
        str | None, typer.Option(help="Model that makes the depth map; see 'threedis plugins'.")
    ] = None,
    depth_seed: Annotated[int | None, typer.Option(help="Seed of the depth model.")] = None,
    region_refiner: Annotated[
        str | None, typer.Option(help="What turns boxes into regions. Default: boxes.")
    ] = None,
    renderer: Annotated[
        list[str] | None, typer.Option(help="Renderer or preset; repeat for several.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed; repeat for several.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[NAME.]OPTION=VALUE",
            help="Option of every renderer, or of the one named; values are YAML.",
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Picture width in pixels.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Picture height in pixels.")] = None,
    image_id: Annotated[
        int | None,
        typer.Option(min=0, help="Picture of a COCO file, or layout number in a COCO-MIG file."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Most pictures a renderer works on at once.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Run settings (YAML), or the run.json of an earlier run.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder. Default: runs/<timestamp>-<prompt>.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Render a layout: one picture per renderer and seed, all from one depth map."""
    from threedis_core.config import RunConfig
    from threedis_core.run import render_config
    from threedis_core.run_folder import default_run_folder
    from threedis_core.run_plan import with_default_renderer

    registry = state_of(context).registry
    flags = {
        "layout": layout,
        "image_id": image_id,
        "depth": depth,
        "depth_model": depth_model,
        "depth_seed": depth_seed,
        "region_refiner": region_refiner,
        "renderers": renderer,
        "seeds": seed,
        "width": width,
        "height": height,
        "batch_size": batch_size,
        "out": out,
    }
    asked = (RunConfig.load(config) if config else RunConfig()).overridden(flags)
    asked = with_default_renderer(asked, registry).with_settings(settings or [])
    read = asked.read_layout()
    if asked.out is None:
        asked = asked.overridden({"out": default_run_folder(read.prompt, datetime.now())})
    with progress_bars() as progress:
        run = render_config(asked, layout=read, registry=registry, progress=progress)
    _report(run, asked, as_json)


def _report(run: Run, config: RunConfig, as_json: bool) -> None:
    for warning in run.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        document: dict[str, Any] = {"folder": str(config.out), **run.record}
        typer.echo(json.dumps(document, indent=2))
        return
    for image in run.images:
        typer.echo(image.file)
