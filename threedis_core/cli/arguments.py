"""Arguments and options that commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
