"""Who may work in a comparison's folder: locks of the system, which die with their process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from filelock import FileLock, Timeout

from threedis_core.compare.plan.models import PlannedLayout
from threedis_core.errors import OptionError
from threedis_core.files.printable import printable

LOCKS = ".locks"
GUARD = "guard"
"""Held for moments, while locks are looked at or the plan is written."""
PAUSE = 1.0
"""Seconds until a waiting process looks again."""


@dataclass(frozen=True)
class Shard:
    """A share of a comparison: whole blocks of layouts.

    Args:
        number: Which one, from 0.
        count: Of how many.

    Raises:
        OptionError: There is no such share.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise OptionError(
                f"shard {self.number}/{self.count}: expected I/N with I from 0 to N - 1",
                code="wrong-value",
                path="shard",
            )

    def has(self, layout: PlannedLayout) -> bool:
        """Whether it works on a layout."""
        return layout.block % self.count == self.number

    @property
    def name(self) -> str:
        """The name of its lock."""
        return "all" if self.count == 1 else f"shard-{self.number}-of-{self.count}"

    def may_work_beside(self, other: str) -> bool:
        """Whether no job is both in this share and in the one whose lock is ``other``."""
        return self.count > 1 and other.endswith(f"-of-{self.count}") and other != self.name


@contextmanager
def guarded(folder: Path) -> Generator[None]:
    """Let no other process look at the locks or write the plan meanwhile.

    Raises:
        OptionError: The folder cannot be written, or its disk knows no locks.
    """
    try:
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCKS / GUARD)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"{printable(folder)} cannot become a comparison's folder: {reason}; choose another "
            "one with --out",
            code="file-not-written",
            file=folder,
            path="out",
            hint="choose another one with --out",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claimed(
    folder: Path, shard: Shard, wait: bool = False, tell: Callable[[str], None] | None = None
) -> Generator[bool]:
    """Keep a share of a comparison for this process alone; yields whether nobody else is at work.

    Args:
        folder: The comparison's folder.
        shard: The share.
        wait: Wait until who is at work has finished, instead of refusing.
        tell: Told once for whom it waits.
    Raises:
        OptionError: Somebody else is at work on the same jobs.
    """
    own = FileLock(folder / LOCKS / shard.name)
    while True:
        with guarded(folder):
            others = _at_work(folder, shard)
            conflict = [name for name in others if not shard.may_work_beside(name)]
            if not conflict:
                own.acquire(timeout=0)
                break
        who = f"{printable(folder)}: another process is at work on it ({conflict[0]})"
        if not wait:
            hint = "wait until it has finished, or let this one wait with --wait"
            raise OptionError(
                f"{who}; {hint}", code="folder-taken", file=folder, path="out", hint=hint
            )
        if tell is not None:
            tell(f"{who}; waiting for it")
            tell = None
        sleep(PAUSE)
    try:
        yield not others
    finally:
        own.release()


def _at_work(folder: Path, shard: Shard) -> list[str]:
    """The names of the locks that somebody holds."""
    held: list[str] = []
    names = {path.name for path in (folder / LOCKS).iterdir()} | {shard.name}
    for name in sorted(names - {GUARD}):
        lock = FileLock(folder / LOCKS / name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            held.append(name)
        else:
            lock.release()
    return held
