"""``threedis render``: one run from a layout, from a config, or of an earlier run again."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threedis_core.cli import arguments, streams
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError

if TYPE_CHECKING:
    from threedis_core.plugin.registry import PluginRegistry
    from threedis_core.run.config import RunConfig
    from threedis_core.run.plan import RunPlan
    from threedis_core.run.result import Run

EXAMPLES = """Examples:

threedis render scene.yaml --depth depth.png --renderer sd15

threedis render scene.yaml --seed 0 --seed 1 --steps 30 --size 768x512

threedis render scene.yaml --hook both

threedis render scene.yaml --renderer sd15 --set sd15.model=my/sd15

threedis render scene.yaml --renderer sd15 --renderer sd15@raw --set sd15@raw.alpha=0

threedis render --config runs/my-run/run.json --out runs/again"""


def render_command(
    context: typer.Context,
    layout: arguments.OptionalLayoutFile = None,
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
        typer.Option(metavar="PATH", help="New folder. Default: runs/<timestamp>-<prompt>."),
    ] = None,
    as_json: arguments.AsJson = False,
) -> None:
    """Render a layout: one picture per renderer and seed, all from one depth map."""
    from threedis_core.run.config import RunConfig
    from threedis_core.run.folder import default_run_folder
    from threedis_core.run.loop import carry_out
    from threedis_core.run.plan import plan_run, with_default_renderer

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
    asked = (RunConfig.load(config) if config else RunConfig()).overridden(flags)
    asked = with_default_renderer(asked, registry).with_settings(settings or [])
    read = asked.read_layout()
    with ExitStack() as stack:
        if asked.out is None:
            folder = stack.enter_context(default_run_folder(read.prompt, datetime.now()))
            asked = asked.model_copy(update={"out": folder})
        progress = stack.enter_context(progress_bars())
        stack.enter_context(streams.plugins_print_to_stderr())
        plan = plan_run(asked, registry, read)
        run = carry_out(plan, progress)
    for warning in (*_contested_names(plan, registry), *run.warnings):
        streams.warn(warning)
    _report(run, asked, as_json)


def _contested_names(plan: RunPlan, registry: PluginRegistry) -> list[str]:
    """What is to be said of the names in a run that two plugins want: one of them has it."""
    from threedis_core.run.config import registered_name

    used = {registered_name(renderer.name) for renderer in plan.renderers}
    used.add(plan.config.region_refiner.name)
    used.add(getattr(plan.depth, "name", ""))
    return [failure.reason for failure in registry.failures if failure.name in used - {""}]


def _report(run: Run, config: RunConfig, as_json: bool) -> None:
    if as_json:
        document: dict[str, Any] = {"folder": str(config.out), **run.record}
        typer.echo(json.dumps(document, indent=2))
        return
    for image in run.images:
        streams.echo(str(image.file))
    streams.echo(str(run.sheet))
