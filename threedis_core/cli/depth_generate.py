"""``threedis depth generate``: a depth map from a layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import arguments
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of

ModelName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Depth model; see 'threedis plugins'.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="Option of the model; values are YAML."),
]
Seed = Annotated[int, typer.Option(help="Seed: the same one gives the same map.")]
Out = Annotated[
    Path | None, typer.Option(help="PNG to write, 16 bits. Default: <name of LAYOUT>-depth.png.")
]


def generate_command(
    context: typer.Context,
    layout: arguments.LayoutFile,
    model: ModelName,
    settings: Settings = None,
    seed: Seed = 0,
    width: arguments.Width = None,
    height: arguments.Height = None,
    image_id: arguments.ImageId = None,
    depth_cache: arguments.DepthCached = None,
    out: Out = None,
) -> None:
    """Make a depth map from a layout; bright is near. Size: the layout's, or 512 x 512."""
    from threedis_core.atomic import check_writable
    from threedis_core.config import RunConfig
    from threedis_core.depth_cache import DepthCache
    from threedis_core.depth_stage import make_depth
    from threedis_core.errors import OptionError
    from threedis_core.run_plan import plan_depth

    out = out or Path(f"{layout.stem}-depth.png")
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out {out}: expected a name that ends in .png; a PNG is written")
    check_writable(out)
    given = {
        "layout": layout,
        "image_id": image_id,
        "depth_model": model,
        "depth_seed": seed,
        "width": width,
        "height": height,
    }
    # An option alone is meant for the model: there is nothing else here.
    named = [
        text if "." in text.partition("=")[0] else f"{model}.{text}" for text in settings or []
    ]
    config = RunConfig().overridden(given).with_settings(named)
    read = config.read_layout()
    planned = plan_depth(config, read, state_of(context).registry)
    cache = None if depth_cache is False else DepthCache.default()
    with progress_bars() as progress:
        made = make_depth(planned, read, seed, cache, progress)
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    made.depth.save(out)
    typer.echo(out)
