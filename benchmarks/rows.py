"""Print what a benchmark measures: a line as soon as it is there, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from threedis_core.errors import ThreeDISError


def print_rows(rows: Iterator[dict[str, Any]], header: str, line: str, as_json: bool) -> None:
    """Print rows of figures.

    Args:
        rows: Measured while they are taken.
        header: The table's first line.
        line: The format of the others.
        as_json: One JSON document instead.
    Raises:
        SystemExit: An error of ThreeDIS, in one line.
    """
    try:
        if as_json:
            print(json.dumps(list(rows)))
            return
        print(header, flush=True)
        for row in rows:
            print(line.format(**row), flush=True)
    except ThreeDISError as error:
        raise SystemExit(str(error)) from error
