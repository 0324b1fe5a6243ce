"""A run that somebody waits for, watches, and may cancel."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from threedis_core.errors import Cancelled, DeadlineExceeded, ThreeDISError
from threedis_core.files.printable import printable
from threedis_core.plugin.progress import Progress
from threedis_core.run.engine.stop import Stop
from threedis_core.run.result import Preview, Previews, Run

_log = logging.getLogger("threedis_core.engine")

State = Literal["waiting", "working", "done", "stopped", "failed"]


@dataclass(frozen=True)
class JobProgress:
    """How far a job is: ``done`` of ``total`` steps of ``stage``."""

    stage: str
    done: int
    total: int


class Job:
    """A run in a thread of its own, as ``Engine.submit`` makes it. Any thread may use it.

    Args:
        stop: What ends it before its end.
        progress: What the caller wants told.
        previews: Who looks at pictures in the making, if anybody does.
    """

    def __init__(self, stop: Stop, progress: Progress, previews: Previews | None) -> None:
        self._stop = stop
        self._tell = progress
        self._wanted = previews
        self._previews: dict[tuple[str, int], Preview] = {}
        self._progress: JobProgress | None = None
        self._ended = threading.Event()
        self._run: Run | None = None
        self._error: BaseException | None = None

    @property
    def progress(self) -> JobProgress | None:
        """The last step that was done; None before the first one."""
        return self._progress

    @property
    def previews(self) -> tuple[Preview, ...]:
        """The latest preview of each picture, in the order they began; none if nobody wants any."""
        return tuple(self._previews.values())

    @property
    def state(self) -> State:
        """Where it is: "waiting" before the first step, "stopped" by a cancel or its deadline."""
        if not self._ended.is_set():
            return "working" if self._progress else "waiting"
        if self._error is None:
            return "done"
        return "stopped" if isinstance(self._error, Cancelled | DeadlineExceeded) else "failed"

    def cancel(self) -> None:
        """Let it end at its next step; one that waits for its turn ends at once."""
        self._stop.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, ``timeout`` seconds at most; False if it has not come by then."""
        return self._ended.wait(timeout)

    def result(self, timeout: float | None = None) -> Run:
        """Wait for the end, and return the run, or raise what ended it.

        Args:
            timeout: The most seconds to wait; None: as long as it takes.
        Raises:
            TimeoutError: It is still at work; ask again.
            Cancelled: It was cancelled.
            DeadlineExceeded: It was not done by its deadline.
            ThreeDISError: Whatever ``render`` raises.
            BaseException: What the caller's own progress or preview function raised.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"the job was not done within {timeout:g} seconds; it goes on")
        if self._error is not None:
            raise self._error
        assert self._run is not None
        return self._run

    def carry_out(self, work: Callable[[Progress, Previews | None], Run]) -> None:
        """Do ``work``, which tells and shows what the job gives it; the engine calls this."""
        start = perf_counter()
        try:
            wanted = None if self._wanted is None else Previews(self._show, self._wanted.every)
            self._run = work(self._note, wanted)
        except BaseException as error:
            self._error = error
        finally:
            name, taken = threading.current_thread().name, perf_counter() - start
            _log.info("%s: %s after %.2f seconds", name, self._end_in_brief(), taken)
            self._ended.set()

    def _end_in_brief(self) -> str:
        error = self._error
        if isinstance(error, ThreeDISError):
            return printable(error.in_brief())
        return "done" if error is None else type(error).__name__

    def _note(self, stage: str, done: int, total: int) -> None:
        self._progress = JobProgress(stage, done, total)
        self._stop.check()
        self._tell(stage, done, total)

    def _show(self, preview: Preview) -> None:
        self._previews = {**self._previews, (preview.renderer, preview.seed): preview}
        if self._wanted is not None and self._wanted.show is not None:
            self._wanted.show(preview)
