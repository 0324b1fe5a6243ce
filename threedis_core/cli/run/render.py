"""``threedis render``: one run from a layout, from a config, or of an earlier run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import arguments
from threedis_core.cli.run.work import render_group, render_one
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError

EXAMPLES = """Examples:

threedis render scene.yaml --depth depth.png --renderer sd15

threedis render scene.yaml --seed 0 --seed 1 --steps 30 --size 768x512

threedis render scene.yaml --hook both

threedis render one.yaml two.yaml --out runs/two-scenes

threedis render scene.yaml --renderer sd15 --set sd15.model=my/sd15

threedis render scene.yaml --renderer sd15 --renderer sd15@raw --set sd15@raw.alpha=0

threedis render --config runs/my-run/run.json --out runs/again"""


def render_command(
    context: typer.Context,
    layouts: arguments.LayoutFiles = None,
    depth: Annotated[
        Path | None, typer.Option(help="Depth map: PNG, other picture, or .npy; bright is near.")
    ] = None,
    depth_model: Annotated[
        str | None, typer.Option(help="Model that makes the depth map; see 'threedis plugins'.")
    ] = None,
    depth_seed: Annotated[int | None, typer.Option(help="Seed of the depth model.")] = None,
    depth_tries: arguments.DepthTries = None,
    depth_cache: arguments.DepthCached = None,
    region_refiner: Annotated[
        str | None,
        typer.Option(help="What turns boxes into regions; see 'threedis plugins'. Default: boxes."),
    ] = None,
    renderers: arguments.RendererNames = None,
    seeds: arguments.Seeds = None,
    settings: arguments.OptionSettings = None,
    steps: arguments.Steps = None,
    guidance: arguments.Guidance = None,
    negative_prompt: arguments.NegativePrompt = None,
    control: arguments.HookSwitch = None,
    size: arguments.Size = None,
    width: arguments.Width = None,
    height: arguments.Height = None,
    image_id: arguments.ImageId = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Most pictures a renderer works on at once.")
    ] = None,
    config: arguments.ConfigFile = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Its folder. Default: runs/<timestamp>-<prompt>."),
    ] = None,
    as_json: arguments.AsJson = False,
) -> None:
    """Render layouts: one picture per renderer and seed, all from one depth map.

    The same command goes on where it was stopped.
    """
    from threedis_core.run.config import RunConfig
    from threedis_core.run.plan import with_default_renderer

    registry = state_of(context).registry
    # The arguments are fields of the config by name. One that may be repeated and was not given is
    # an empty tuple here.
    given = {name: value for name, value in context.params.items() if value not in (None, ())}
    flags = {name: value for name, value in given.items() if name in RunConfig.model_fields}
    if seeds:
        flags["seeds"] = arguments.parse_seeds(seeds)
    if size is not None:
        if width is not None or height is not None:
            raise OptionError("--size and --width or --height were both given; give --size alone")
        flags["width"], flags["height"] = arguments.parse_size(size)
    if layouts and len(layouts) == 1:
        flags["layout"] = layouts[0]
    asked = RunConfig()
    if config is not None:
        asked = RunConfig.load(config, new_depth=depth_seed is not None or depth_tries is not None)
    asked = asked.overridden(flags)
    asked = with_default_renderer(asked, registry).with_settings(settings or [])
    if layouts and len(layouts) > 1:
        render_group(asked, layouts, registry, as_json)
    else:
        render_one(asked, registry, as_json)
