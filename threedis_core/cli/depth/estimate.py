"""``threedis depth estimate``: a depth map from a picture."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from threedis_core.cli.depth import output
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of

Photo = Annotated[Path, typer.Argument(help="Picture: PNG, JPEG, WebP, TIFF or BMP.")]
EstimatorName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Depth estimator; see 'threedis plugins'.")
]


def estimate_command(
    context: typer.Context,
    photo: Photo,
    model: EstimatorName = "depth-anything",
    settings: output.Settings = None,
    out: output.Out = None,
) -> None:
    """Estimate the depth of a picture; bright is near. The map has the picture's size."""
    from threedis_core.errors import DepthError, InputError, OptionError, RenderError
    from threedis_core.files.pictures import is_transparent, open_picture, upright
    from threedis_core.plugin.failures import failures_named

    out = output.output_file(out, photo)
    estimator = state_of(context).registry.depth_estimator(model, _options(model, settings or []))
    picture = open_picture(photo, DepthError, "a photo")
    if is_transparent(picture):
        raise DepthError(f"{photo}: has transparency; expected an opaque picture")
    picture = upright(picture)
    with (
        progress_bars() as progress,
        closing(estimator),
        failures_named(f"depth estimator '{model}'"),
    ):
        try:
            maps = estimator.estimate([picture], progress)
        except OptionError:
            raise
        except InputError as error:  # the picture; the estimator does not know its file
            raise DepthError(f"{photo}: {str(error).removeprefix('pictures[0]: ')}") from error
        if [(found.width, found.height) for found in maps] != [picture.size]:
            raise RenderError(f"it returned {len(maps)} depth maps, or one of another size")
    output.write_depth(maps[0], out)


def _options(model: str, settings: list[str]) -> dict[str, Any]:
    """The options of ``model``; a setting may name it or not: there is nothing else here."""
    from threedis_core.errors import OptionError
    from threedis_core.run.config import parse_setting

    options: dict[str, Any] = {}
    for name, option, value in map(parse_setting, settings):
        if name not in (None, model):
            raise OptionError(f"--set {name}.{option}: '{name}' is not chosen. Chosen: {model}")
        options[option] = value
    return options
