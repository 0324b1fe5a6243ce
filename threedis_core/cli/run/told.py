"""What ``threedis render`` says while it works: bars on a terminal, else a few lines."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from threedis_core.cli import streams
from threedis_core.cli.progress import progress_bars
from threedis_core.plugin.progress import Progress

PICTURES = "pictures"
PREPARING = "preparing"


class Told:
    """A progress that counts the pictures, and says on stderr what is worth a line.

    With ``--quiet`` it says nothing but that and why the run was stopped.
    """

    bars: Progress | None = None
    """What shows every step; None off a terminal."""

    def __init__(self) -> None:
        self._quiet = streams.is_quiet()
        self._stages: set[str] = set()
        self.pictures = (0, 0)
        self.folder: Path | None = None

    @contextmanager
    def preparing(self) -> Generator[None]:
        """Show that it takes time while the plan is made: it imports the backends' libraries."""
        if self.bars is not None:
            self.bars(PREPARING, 0, 0)
        yield
        if self.bars is not None:
            self.bars(PREPARING, 1, 1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note how far the work is."""
        if stage == PICTURES:
            self._count(done, total)
        if self.bars is not None:
            self.bars(stage, done, total)
        elif stage not in self._stages and stage != PICTURES and not self._quiet:
            streams.note(f"{stage} ...")
        self._stages.add(stage)

    @contextmanager
    def stopping(self) -> Generator[None]:
        """If Ctrl-C ends the block, say what is kept and how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            streams.note(self._stopped())
            raise

    def _stopped(self) -> str:
        done, total = self.pictures
        if done:
            rest = "goes on with the others" if done < total else "finishes the run"
            kept = f"{done} of {total} pictures are kept in {self.folder}"
            return f"stopped: {kept}; the same command {rest}"
        if self._stages:
            return "stopped before the first picture; nothing is kept"
        return "stopped before any work; what was there is as it was"

    def _count(self, done: int, total: int) -> None:
        first, self.pictures = self.pictures == (0, 0), (done, total)
        if self._quiet:
            return
        if first and not self._stages:  # before any work: an earlier run has made them
            streams.note(f"{done} of {total} pictures were there already")
        elif self.bars is None:
            streams.note(f"pictures {done} of {total}")


@contextmanager
def told_progress(what: str, pictures: int) -> Generator[Told]:
    """Yield what tells of a run on stderr, until the end of the block, by Ctrl-C or not.

    Args:
        what: What is going to be done, which is said at once.
        pictures: How many pictures that are.
    """
    with ExitStack() as stack:
        told = Told()
        stack.enter_context(told.stopping())
        if not streams.is_quiet():
            count = "1 picture" if pictures == 1 else f"{pictures} pictures"
            streams.note(f"{what}: {count} ...")
            if sys.stderr.isatty():
                told.bars = stack.enter_context(progress_bars())
                told.bars(PICTURES, 0, pictures)
        yield told
