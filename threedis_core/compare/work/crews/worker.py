"""The program of a worker process: tasks come in on stdin, outcomes go out on stdout, pickled.

Whoever started it is the only one who writes to it. When that one dies, so does the worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

READY = "ready"


def main() -> None:
    """Do tasks until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to everybody
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints must not get among the outcomes
    tasks: SimpleQueue[object] = SimpleQueue()
    source = sys.stdin.buffer
    setting = pickle.load(source)
    from threedis_core.compare.work.bench import Bench
    from threedis_core.compare.work.crews.own import set_threads
    from threedis_core.plugin.discovery import load_plugins

    threading.Thread(target=_read, args=(source, tasks), daemon=True).start()
    with Bench(setting, load_plugins()) as bench:
        _answer(answers, READY)
        while (task := tasks.get()) is not None:
            set_threads(setting.threads)
            _answer(answers, bench.do(task))  # pyright: ignore[reportArgumentType]
            del task


def _read(source: BinaryIO, tasks: SimpleQueue[object]) -> None:
    """Pass tasks on as they come; end the process at once if nobody is there any more."""
    try:
        while True:
            task = pickle.load(source)
            tasks.put(task)
            if task is None:
                return
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(1)


def _answer(answers: BinaryIO, value: object) -> None:
    try:
        pickle.dump(value, answers)
        answers.flush()
    except OSError:
        os._exit(1)


if __name__ == "__main__":
    main()
