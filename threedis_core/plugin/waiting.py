"""Say who is being waited for, so that a program that stands still is no riddle."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import Timer

from threedis_core.files.printable import printable

PLUGIN_PATIENCE = 3.0
"""Seconds; listing plugins takes milliseconds."""

BACKEND_PATIENCE = 10.0
"""Seconds; a backend imports its model libraries, which takes some from a cold disk."""


@contextmanager
def waiting_named(what: str, patience: float) -> Generator[None]:
    """Say on stderr what is being waited for if the block takes more than ``patience`` seconds."""
    timer = Timer(patience, _say, [f"waiting for {what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
