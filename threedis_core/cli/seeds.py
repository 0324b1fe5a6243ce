"""``--seed``: how the seeds of a run are written on the command line, and read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from threedis_core.errors import OptionError

Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="INTEGER", help="Seed; repeat for several."),
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
