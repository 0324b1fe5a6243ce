"""How long the parts of a run take."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Generator[None]:
    """Note in ``seconds`` how long the block takes, by the wall clock."""
    start = perf_counter()
    try:
        yield
    finally:
        seconds[part] = round(perf_counter() - start, 3)
