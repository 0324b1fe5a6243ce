"""The gate around a plugin's code: whatever it raises, and how long it takes, gets its name.

A plugin may raise anything, ``SystemExit`` too, which would end the program without a word. Only
Ctrl-C passes as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Timer
from typing import Protocol

from threedis_core.errors import RenderError, ThreeDISError, retold
from threedis_core.files.printable import printable
from threedis_core.plugin.progress import Watched, silent

LONGEST_REASON = 2000

_waiting = logging.getLogger("threedis_core.waiting")

PLUGIN_PATIENCE = 3.0
"""Seconds; listing plugins takes milliseconds."""

BACKEND_PATIENCE = 10.0
"""Seconds; a backend imports its model libraries, which takes some from a cold disk."""


class Closable(Protocol):
    """A backend of any kind: it can free what it has loaded."""

    def close(self) -> None: ...


@contextmanager
def failures_named(
    who: str,
    how: str = "failed",
    kind: type[ThreeDISError] = RenderError,
    progress: Watched | None = None,
) -> Generator[None]:
    """Name ``who`` in what fails inside; errors that are not ours become a ``kind``.

    Do not yield from within: closing the outer generator would count as a failure.

    Args:
        who: Whose code runs inside: "renderer 'sd15'".
        how: What to say of it when it raises.
        kind: The error to raise; another one of ours passes as it is.
        progress: What the code inside is given to call; if that has raised something, the same
            comes out, whatever became of it inside.
    Raises:
        ThreeDISError: Something failed.
    """
    told = progress or Watched(silent)
    try:
        yield
    except BaseException as error:
        if told.raised is not None:
            raise told.raised from None
        if isinstance(error, kind):
            raise retold(error, kind, f"{who} {how}: {error}") from error
        if isinstance(error, ThreeDISError | KeyboardInterrupt):
            raise
        raise kind(f"{who} {how}: {reason_of(error)}") from error
    told.check()


@contextmanager
def closing_named(backend: Closable, who: str, warn: Callable[[str], None]) -> Generator[None]:
    """Close ``backend`` at the end; if that fails, tell ``warn`` and go on.

    What was made is worth more than what could not be freed, and an error inside the block more
    than one that follows from it.
    """
    try:
        yield
    finally:
        try:
            backend.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            warn(f"{who} could not be closed: {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """What an error says, in one line: our own words alone, others with the error's type."""
    try:
        said = str(error)[:LONGEST_REASON]
    except Exception:  # a plugin's error may fail to say what it is
        said = ""
    words = " ".join(said.split())
    if isinstance(error, ThreeDISError) and words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def import_failed(error: BaseException) -> str:
    """What to say of a plugin that raised while it was imported."""
    return f"cannot be imported: {reason_of(error)}"


@contextmanager
def waiting_named(what: str, patience: float) -> Generator[None]:
    """Log what is being waited for if the block takes more than ``patience`` seconds."""
    timer = Timer(patience, _waiting.warning, ["waiting for %s ...", printable(what)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
