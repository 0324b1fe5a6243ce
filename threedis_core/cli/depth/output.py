"""The depth map that a command writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from threedis_core.cli import streams
from threedis_core.errors import OptionError

if TYPE_CHECKING:
    from threedis_core.values.depth import DepthMap

OptionSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="Option of the model; values are YAML."),
]
Out = Annotated[
    Path | None, typer.Option(help="PNG to write, 16 bits. Default: <name of the file>-depth.png.")
]


def output_file(out: Path | None, read: Path) -> Path:
    """Where to write the depth map made from the file ``read``; checked before the work.

    Raises:
        OptionError: ``out`` is no PNG, is ``read`` itself, or cannot be written.
    """
    from threedis_core.files.png import check_png  # brings PIL, which listings do not need

    out = out or Path(f"{read.stem}-depth.png")
    check_png(out, "--out")
    if _same_file(out, read):
        raise OptionError(f"--out {out}: it is the file that is read; choose another name")
    return out


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one is not there, or cannot be read, which is said later
        return False


def write_depth(depth: DepthMap, out: Path) -> None:
    """Write the depth map, its folder if it is not there, and print its name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    depth.save(out)
    streams.echo(out)
