"""What ``threedis compare`` says: what is to be done, how far it is, and what became of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import typer

from threedis_core.cli import streams
from threedis_core.cli.progress import progress_bars
from threedis_core.plugin.progress import Progress, silent

if TYPE_CHECKING:
    from threedis_core.compare.call import Comparison
    from threedis_core.compare.estimate import Estimate
    from threedis_core.compare.plan.models import ComparePlan
    from threedis_core.compare.state import Counts

DONE = ": done"
"""How a stage's name ends by which a comparison tells how far it is."""
WORDS = {"depth": "depth maps", "render": "pictures"}
OFTEN = 10.0
"""Seconds between two lines about one stage."""
MOST_FAILED = 5


def stage_words(stage: str) -> str:
    """What a stage makes, in words: "pictures", "findings of pocket-objects"."""
    kind, _, name = stage.partition("-")
    if stage in WORDS:
        return WORDS[stage]
    return f"findings of {name}" if kind == "detect" else f"scores of {name}"


class Lines:
    """A progress that says how far the stages are, at most every ten seconds."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note a step."""
        if not stage.endswith(DONE):
            self._bars(stage, done, total)
            return
        what = stage_words(stage.removesuffix(DONE))
        self._bars(what, done, total)
        now = monotonic()
        self._began.setdefault(what, now)
        due = done >= total or now - self._said.get(what, self._began[what]) >= OFTEN
        if self._bars is silent and not streams.is_quiet() and due:
            self._said[what] = now
            streams.note(f"{what} {done} of {total}{self._left(what, done, total)}")

    def _left(self, what: str, done: int, total: int) -> str:
        """How long the rest will take, as the first part did."""
        if not 0 < done < total:
            return ""
        seconds = (monotonic() - self._began[what]) * (total - done) / done
        return f", about {duration_words(seconds)} left"


@contextmanager
def told_lines() -> Generator[Lines]:
    """Yield what tells of a comparison on stderr: bars on a terminal, else lines."""
    with ExitStack() as stack:
        try:
            yield Lines(stack.enter_context(progress_bars()))
        except KeyboardInterrupt:
            streams.note("stopped; what is done is kept, and the same command goes on")
            raise


def tell_estimate(plan: ComparePlan, found: Estimate, workers: int) -> None:
    """Print what is to be done, what is there, disk and time."""
    layouts, unread = len(plan.layouts), sum(one.layout is None for one in plan.layouts)
    note = f", {unread} of them cannot be read" if unread else ""
    streams.echo(f"{layouts} layouts{note}; systems: {', '.join(found.systems)}")
    rows = [("pictures of " + name, counts) for name, counts in found.systems.items()]
    stages: Mapping[str, Counts] = found.stages
    rows = [("depth maps", stages["depth"]), *rows]
    rows += [(stage_words(name), one) for name, one in stages.items() if name not in WORDS]
    width = max(len(name) for name, _ in rows)
    for name, counts in rows:
        failed = f", {counts.failed} failed" if counts.failed else ""
        streams.echo(f"  {name:<{width}}  {counts.planned}, {counts.done} there{failed}")
    refused = [job for job in plan.jobs if job.refused]
    if refused:
        streams.echo(f"  {len(refused)} pictures cannot be made, the first: {refused[0].refused}")
    streams.echo(f"disk: about {size_words(found.disk)} more; {size_words(found.free)} are free")
    streams.echo(f"time: {_time(found, workers)}")
    if found.disk > found.free:
        streams.warn("the disk is too small for it")


def _time(found: Estimate, workers: int) -> str:
    told = f"about {duration_words(found.seconds / workers)} to render"
    told += f" with {workers} workers" if workers > 1 else ""
    if not found.unknown:
        return told
    names = ", ".join(found.unknown)
    unknown = f"not known for {names}: none of its pictures was made on this machine yet"
    return unknown if found.seconds == 0 else f"{told}, and {unknown}"


def size_words(size: float) -> str:
    """Bytes in a unit that people read."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_words(seconds: float) -> str:
    """Seconds in a unit that people read."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def tell_result(made: Comparison) -> None:
    """Print a row for each system, and the files worth opening."""
    width = max(len(name) for name in made.systems)
    for name, counts in made.systems.items():
        left = f", {counts.left} left" if counts.left else ""
        failed = f", {counts.failed} failed" if counts.failed else ""
        streams.echo(f"{name:<{width}}  {counts.done} of {counts.planned} pictures{failed}{left}")
    for failure in made.failed[:MOST_FAILED]:
        streams.warn(f"{stage_words(failure.stage)}, {failure.job}: {failure.error}")
    more = len(made.failed) - MOST_FAILED
    if more > 0:
        streams.warn(f"and {more} more: see {made.folder}/failures")
    for problem in made.problems:
        streams.warn(problem)
    for name in ("table.md", "results.csv", "report.html", "report/index.html"):
        if (made.folder / name).is_file():
            typer.echo(str(made.folder / name))
