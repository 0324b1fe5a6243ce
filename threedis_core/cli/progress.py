"""Progress bars on stderr, if it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from threedis_core.cli import streams
from threedis_core.files.printable import printable
from threedis_core.plugin.progress import Progress, silent

LONGEST_STAGE = 60


@contextmanager
def progress_bars() -> Generator[Progress]:
    """Yield a progress with one bar per stage; silent off a terminal, and with --quiet.

    A stage of which nobody knows how much there is to do has a total of 0.
    """
    if not sys.stderr.isatty() or streams.is_quiet():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Steps(ProgressColumn):
        """As in "4 of 6"; nothing as long as nobody knows of how many."""

        def render(self, task: Task) -> Text:
            known = task.total is not None
            return Text(f"{task.completed:.0f} of {task.total:.0f}" if known else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Steps(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        current: dict[str, tuple[TaskID, int]] = {}

        def progress(stage: str, done: int, total: int) -> None:
            task, last = current.get(stage, (None, 0))
            if task is None:
                task = bars.add_task(printable(stage, LONGEST_STAGE), total=total or None)
            if done < last:  # the next batch of the same stage
                bars.reset(task, total=total)
            bars.update(task, completed=done, total=total or None)
            current[stage] = (task, done)

        yield progress
