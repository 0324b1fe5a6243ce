"""Options that all stages of ``threedis compare`` take."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from threedis_core.errors import OptionError

if TYPE_CHECKING:
    from threedis_core.compare.work.claim import Shard

What = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="What to compare (YAML); or the folder of a comparison, to go on."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="The comparison's folder. Default: as the config says, or runs/<its name>."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say what is to be done, what is there, disk and time."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Worker processes. Default: 1, this one; with ray all that the cluster has room for.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to work on; auto finds one. Default: one of this machine."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do share I of N, counted from 1, with others at work beside: for job arrays.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what has failed.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that is at work on the same.")
]


class EngineName(StrEnum):
    """Where the workers are."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", help="Where the workers are: on this machine, or on a Ray cluster."),
]


def parse_shard(text: str | None) -> Shard:
    """The share that ``--shard`` names: "2/8"; None: all.

    Raises:
        OptionError: It names none.
    """
    from threedis_core.compare.work.claim import Shard

    if text is None:
        return Shard()
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(
            f"--shard {text:.40}: expected I/N with I from 1 to N, such as 2/8",
            code="wrong-value",
            path="shard",
        )
    return Shard(int(found[1]) - 1, int(found[2]))
