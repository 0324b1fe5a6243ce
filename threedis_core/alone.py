"""What a process has only one of, and so one thread at a time may change."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

_loading = threading.RLock()
_filters = threading.RLock()


@contextmanager
def loading_alone() -> Generator[None]:
    """Let no other thread find or load a model meanwhile.

    Model libraries change the whole process while they are imported and while they build a model.
    Whatever loads models takes this lock: every backend here does, and so may a program of yours
    that loads models of its own beside them. The same thread may take it again.
    """
    with _loading:
        yield


@contextmanager
def warnings_ignored(*categories: type[Warning]) -> Generator[None]:
    """Ignore Python warnings of some categories meanwhile; of all without any.

    ``warnings.catch_warnings`` alone, in two threads at once, may leave its filters behind.
    """
    with _filters, warnings.catch_warnings():
        for category in categories or (Warning,):
            warnings.simplefilter("ignore", category)
        yield
