"""``threedis depth generate``: a depth map from a layout."""

from __future__ import annotations

from typing import Annotated

import typer

from threedis_core.cli import arguments, streams
from threedis_core.cli.depth import output
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of

ModelName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Depth model; see 'threedis plugins'.")
]
Seed = Annotated[int, typer.Option(help="Seed: the same one gives the same map.")]


def generate_command(
    context: typer.Context,
    layout: arguments.LayoutFile,
    model: ModelName,
    settings: output.OptionSettings = None,
    seed: Seed = 0,
    width: arguments.Width = None,
    height: arguments.Height = None,
    image_id: arguments.ImageId = None,
    depth_tries: arguments.DepthTries = None,
    depth_cache: arguments.DepthCached = None,
    out: output.Out = None,
) -> None:
    """Make a depth map from a layout; bright is near. Size: the layout's, or 512 x 512."""
    from threedis_core.plugin.progress import Watched
    from threedis_core.run.config import RunConfig
    from threedis_core.run.depth_plan import plan_depth
    from threedis_core.run.lending import ClosedAfterUse
    from threedis_core.run.stages.depth import make_depth

    out = output.output_file(out, layout)
    given = {
        "layout": layout,
        "image_id": image_id,
        "depth_model": model,
        "depth_seed": seed,
        "depth_tries": depth_tries,
        "width": width,
        "height": height,
    }
    # An option alone is meant for the model: there is nothing else here.
    named = [
        text if "." in text.partition("=")[0] else f"{model}.{text}" for text in settings or []
    ]
    config = RunConfig().overridden(given).with_settings(named)
    read = config.read_layout()
    with progress_bars() as progress, streams.plugins_print_to_stderr():
        planned = plan_depth(config, read, state_of(context).registry)
        watched, cached = Watched(progress), depth_cache is not False
        made = make_depth(planned, read, seed, cached, watched, ClosedAfterUse())
    for warning in made.warnings:
        streams.warn(warning)
    output.write_depth(made.depth, out)
