"""``threedis depth estimate``: a depth map from a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threedis_core.cli import streams
from threedis_core.cli.depth import output
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of

if TYPE_CHECKING:
    from PIL import Image

    from threedis_core.plugin.interfaces import DepthEstimator
    from threedis_core.values.depth import DepthMap

Photo = Annotated[Path, typer.Argument(help="Picture: PNG, JPEG, WebP, TIFF or BMP.")]
EstimatorName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Depth estimator; see 'threedis plugins'.")
]


def estimate_command(
    context: typer.Context,
    photo: Photo,
    model: EstimatorName = "depth-anything",
    settings: output.OptionSettings = None,
    out: output.Out = None,
) -> None:
    """Estimate the depth of a picture; bright is near. The map has the picture's size."""
    from threedis_core.errors import DepthError
    from threedis_core.files.pictures import is_transparent, open_picture, upright

    out = output.output_file(out, photo)
    with streams.plugins_print_to_stderr():
        registry = state_of(context).registry
        estimator = registry.depth_estimator(model, _options(model, settings or []))
        picture = open_picture(photo, DepthError, "a photo")
        if is_transparent(picture):
            raise DepthError(f"{photo}: has transparency; expected an opaque picture", file=photo)
        depth = _estimate(estimator, f"depth estimator '{model}'", upright(picture), photo)
    output.write_depth(depth, out)


def _estimate(estimator: DepthEstimator, who: str, picture: Image.Image, photo: Path) -> DepthMap:
    from threedis_core.errors import DepthError, InputError, OptionError, retold
    from threedis_core.plugin.failures import closing_named, failures_named
    from threedis_core.plugin.result_checks import checked_depth

    with (
        progress_bars() as progress,
        closing_named(estimator, who, streams.warn),
        failures_named(who),
    ):
        try:
            (depth,) = checked_depth(estimator.estimate([picture], progress), [picture])
        except OptionError:
            raise
        except InputError as error:  # the picture; the estimator does not know its file
            line = f"{photo}: {str(error).removeprefix('pictures[0]: ')}"
            raise retold(error, DepthError, line, file=photo) from error
    return depth


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
