"""Keep the libraries below us quiet: what a person should know, we say in our own words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

OTHERS = ("bitsandbytes", "torchao", "torch.utils._pytree")
"""Loggers that speak while diffusers imports what it finds."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the libraries' progress bars and log lines below errors.

    Their settings are the process's: the first thread inside changes them, the last one out puts
    them back.
    """
    _silence.enter()
    try:
        yield
    finally:
        _silence.leave()


class _Silence:
    """How many are inside, and what to put back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = ExitStack()

    def enter(self) -> None:
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        with self._lock:
            if self._inside == 0:
                _hush(diffusers_logging, self._undo)
                _hush(transformers_logging, self._undo)
                for name in OTHERS:
                    _hush_logger(logging.getLogger(name), self._undo)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()


_silence = _Silence()


def _hush_logger(logger: logging.Logger, undo: ExitStack) -> None:
    undo.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.ERROR)


def _hush(library: Any, undo: ExitStack) -> None:
    undo.callback(library.set_verbosity, library.get_verbosity())
    if library.is_progress_bar_enabled():
        undo.callback(library.enable_progress_bar)
    library.set_verbosity_error()
    library.disable_progress_bar()
