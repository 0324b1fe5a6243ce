"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long work: ``progress("render", 3, 20)`` after 3 of 20 steps."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """A progress that shows nothing."""


def named(progress: Progress, who: str) -> Progress:
    """A progress that tells ``progress`` whose work each stage is."""

    def tell(stage: str, done: int, total: int) -> None:
        progress(f"{who}: {stage}", done, total)

    return tell
