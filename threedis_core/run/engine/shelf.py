"""Backends that stay loaded: lent to one caller at a time, within a limit of memory."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.plugin.failures import closing_named
from threedis_core.plugin.interfaces import Backend
from threedis_core.run.engine.stop import Stop
from threedis_core.run.lending import BackendT, share_a_load, with_model_of

_log = logging.getLogger("threedis_core.models")

MOST_EMPTY = 32
"""Backends without a model that are remembered, for the size that it had."""


@dataclass(frozen=True)
class KeptModel:
    """A model that an engine keeps.

    Args:
        name: What it is called: "renderer 'sd15'".
        bytes: The memory of its weights; None: its backend does not say.
        at_work: True if somebody has it.
        waiting: How many callers wait for it.
    """

    name: str
    bytes: int | None
    at_work: bool
    waiting: int


@dataclass(eq=False)
class _Kept:
    """A backend on the shelf: ``thread`` has it, the first of ``waiting`` is next.

    ``size`` is what its model held when it was last loaded, in bytes; 0 before that.
    """

    who: str
    backend: Backend
    thread: int | None = None
    waiting: deque[object] = field(default_factory=deque[object])
    bytes: int | None = 0
    size: int = 0

    @property
    def idle(self) -> bool:
        return self.thread is None and not self.waiting

    def measure(self) -> None:
        """Note what the backend holds; None if it does not say, or fails to."""
        self.bytes = None
        with suppress(Exception):
            self.bytes = self.backend.memory()
        self.size = self.bytes or self.size


class Shelf:
    """Keeps the models of backends that are not at work, as far as they fit in the limit.

    Args:
        limit: Bytes of all models together; None: no limit. Those at work are not touched: what is
            at work at once may exceed it.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._kept: list[_Kept] = []  # the least recently used first
        self._closed = False

    @contextmanager
    def lent(
        self, backend: BackendT, who: str, warn: Callable[[str], None], stop: Stop
    ) -> Generator[BackendT]:
        """Yield ``backend`` with a kept model, or an equal one, when it is the caller's turn.

        Callers have their turns in the order they came. A model is closed after a failure.

        Args:
            backend: Kept if there is none that shares a load with it.
            who: What to call it.
            warn: Told if a backend could not be closed.
            stop: Ends the wait; whoever asks it must ``wake`` the shelf.
        Raises:
            OptionError: The shelf is closed.
            RenderError: The same thread has the backend already.
            Cancelled: The wait was cancelled.
            DeadlineExceeded: It was too long.
        """
        kept = self._taken(backend, who, stop)
        try:
            if not kept.bytes:
                self._make_room(kept.size, warn)
            with with_model_of(kept.backend, backend) as working:
                yield working
        except (RenderError, WeightsError):
            _empty(kept, warn)
            raise
        finally:
            if not kept.bytes:  # it was loaded just now
                kept.measure()
            self._give_back(kept)
            self._make_room(0, warn)

    def models(self) -> tuple[KeptModel, ...]:
        """What is loaded now, the least recently used first."""
        with self._changed:
            loaded = [kept for kept in self._kept if kept.bytes != 0 or not kept.idle]
            return tuple(
                KeptModel(kept.who, kept.bytes, kept.thread is not None, len(kept.waiting))
                for kept in loaded
            )

    def wake(self) -> None:
        """Let those who wait look whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def close(self, warn: Callable[[str], None]) -> None:
        """Lend nothing any more, wait for what is out, and free everything.

        Raises:
            RenderError: This very thread has a backend, for which it would wait.
        """
        with self._changed:
            if any(kept.thread == threading.get_ident() for kept in self._kept):
                raise RenderError("the engine cannot be closed by what it is at work for")
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: all(kept.idle for kept in self._kept))
            gone, self._kept = [kept for kept in self._kept if kept.bytes != 0], []
        for kept in gone:
            _empty(kept, warn)

    def _taken(self, backend: Backend, who: str, stop: Stop) -> _Kept:
        with self._changed:
            self._check_open()
            same = (one for one in self._kept if share_a_load(one.backend, backend))
            kept = next(same, None)
            if kept is None:
                kept = _Kept(who, backend)
                self._kept.append(kept)
            if kept.thread == threading.get_ident():
                raise RenderError(
                    f"{who} is at work in this very thread already, which would wait for itself; "
                    "render afterwards, or in another thread"
                )
            self._wait(kept, stop)
            kept.thread = threading.get_ident()
            self._kept.remove(kept)
            self._kept.append(kept)
            return kept

    def _wait(self, kept: _Kept, stop: Stop) -> None:
        ticket = object()
        kept.waiting.append(ticket)
        try:
            while kept.thread is not None or kept.waiting[0] is not ticket:
                stop.check()
                self._check_open()
                self._changed.wait(stop.remaining)
        finally:
            kept.waiting.remove(ticket)
            self._changed.notify_all()

    def _give_back(self, kept: _Kept) -> None:
        with self._changed:
            kept.thread = None
            self._changed.notify_all()

    def _make_room(self, coming: int, warn: Callable[[str], None]) -> None:
        """Close the least recently used idle models until ``coming`` bytes more fit."""
        while kept := self._to_empty(coming):
            _empty(kept, warn)
            self._give_back(kept)

    def _to_empty(self, coming: int) -> _Kept | None:
        """Take the next model that has to go; None: all is well, or nothing is idle."""
        with self._changed:
            if self._limit is None:
                return None
            empty = [kept for kept in self._kept if kept.idle and kept.bytes == 0]
            for kept in empty[:-MOST_EMPTY]:
                self._kept.remove(kept)
            full = sum(kept.bytes or 0 for kept in self._kept) + coming > self._limit
            for kept in self._kept:
                if kept.idle and (kept.bytes is None or (full and kept.bytes)):
                    kept.thread = threading.get_ident()
                    return kept
            return None

    def _check_open(self) -> None:
        if self._closed:
            raise OptionError("the engine is closed; make another one")


def _empty(kept: _Kept, warn: Callable[[str], None]) -> None:
    """Close a backend that nobody else has; it may be used again."""
    if kept.bytes != 0:
        _log.info("%s: its model leaves the memory", kept.who)
    with closing_named(kept.backend, kept.who, warn):
        kept.bytes = 0
