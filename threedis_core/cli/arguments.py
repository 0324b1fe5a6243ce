"""Arguments and options that commands take."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from threedis_core.errors import OptionError

_LAYOUT = typer.Argument(help="Layout file, JSON or YAML; COCO with --image-id.")

LayoutFile = Annotated[Path, _LAYOUT]
OptionalLayoutFile = Annotated[Path | None, _LAYOUT]
ImageId = Annotated[
    int | None,
    typer.Option(min=0, help="Picture of a COCO file, or layout number in a COCO-MIG file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DepthCached = Annotated[
    bool | None,
    typer.Option(
        "--depth-cache/--no-depth-cache",
        help="Use a depth map that was made before, and keep new ones. Default: yes.",
    ),
]
RendererNames = Annotated[
    list[str] | None,
    typer.Option(
        "--renderer",
        metavar="NAME[@LABEL]",
        help="Renderer or preset; repeat for several. A label tells the same one apart.",
    ),
]
Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="INTEGER", help="Seed; repeat for several."),
]
OptionSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[NAME.]OPTION=VALUE",
        help="Option of every renderer (each must know it), or of the one named; values are YAML.",
    ),
]
Width = Annotated[int | None, typer.Option(min=1, help="Picture width in pixels.")]
Height = Annotated[int | None, typer.Option(min=1, help="Picture height in pixels.")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Run settings (YAML), or the run.json of an earlier run.")
]


def parse_seeds(texts: Iterable[str]) -> tuple[int, ...]:
    """The seeds that the ``--seed`` options of one command name, in order.

    Raises:
        OptionError: One is no whole number.
    """
    return tuple(_seed(text) for text in texts)


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python refuses numbers of more than 4300 digits, too
        raise OptionError(f"--seed {text:.60}: expected a whole number, such as 7") from None
