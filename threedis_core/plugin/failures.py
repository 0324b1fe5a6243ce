"""Say which backend failed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from threedis_core.errors import RenderError, ThreeDISError


@contextmanager
def failures_named(who: str) -> Generator[None]:
    """Name ``who`` in what fails inside; errors that are not ours become a ``RenderError``."""
    try:
        yield
    except RenderError as error:
        raise RenderError(f"{who} failed: {error}") from error
    except ThreeDISError:
        raise
    except Exception as error:
        raise RenderError(f"{who} failed: {type(error).__name__}: {error}") from error
