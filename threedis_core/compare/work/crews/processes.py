"""Worker processes on this machine."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import cast

from threedis_core.compare.work.crews.environment import (
    DEVICES,
    visible_devices,
    worker_environment,
)
from threedis_core.compare.work.crews.worker import READY
from threedis_core.compare.work.tasks import Outcome, Setting, Task
from threedis_core.errors import RenderError

PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""
Answer = tuple[int, subprocess.Popen[bytes], "Outcome | None"]


class Processes:
    """Processes that do tasks; one that dies is replaced.

    Args:
        setting: What all tasks have in common.
        size: How many; with several CUDA devices they take turns in having one each.
    """

    def __init__(self, setting: Setting, size: int) -> None:
        self.size = size
        self._setting = setting
        self._devices = visible_devices()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._ready: set[subprocess.Popen[bytes]] = set()
        self._workers: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(size):
                self._workers.append(self._started(number))
        except BaseException:
            self.close()
            raise

    def give(self, worker: int, task: Task) -> None:
        """Send the task; if the worker has died meanwhile, ``next`` will tell."""
        _send(self._workers[worker], task)

    def next(self) -> tuple[int, Outcome | None]:
        """Wait for the next outcome, or for a worker's death.

        Raises:
            RenderError: A worker cannot even start.
        """
        while True:
            worker, process, outcome = self._answers.get()
            if process is not self._workers[worker]:
                continue
            if outcome is None:
                code = process.wait()
                if process not in self._ready:
                    raise RenderError(
                        f"a worker process cannot start (exit code {code}); see what it says above"
                    )
                self._workers[worker] = self._started(worker)
            return worker, outcome

    def close(self) -> None:
        """Let all workers end; those that do not are killed."""
        for process in self._workers:
            _send(process, None)
            if process.stdin is not None:
                process.stdin.close()
        for process in self._workers:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _started(self, worker: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **worker_environment(self._setting.threads)}
        if self._devices:
            environment[DEVICES] = self._devices[worker % len(self._devices)]
        process = subprocess.Popen(
            [sys.executable, "-m", "threedis_core.compare.work.crews.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        _send(process, self._setting)
        threading.Thread(target=self._listen, args=(worker, process), daemon=True).start()
        return process

    def _listen(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        """Pass on what a worker answers, and in the end that it has died."""
        assert process.stdout is not None
        with process.stdout as answers:
            try:
                while True:
                    answer: object = pickle.load(answers)
                    if answer == READY:
                        self._ready.add(process)
                    else:
                        self._answers.put((worker, process, cast("Outcome", answer)))
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                self._answers.put((worker, process, None))


def _send(process: subprocess.Popen[bytes], value: object) -> None:
    assert process.stdin is not None
    try:
        pickle.dump(value, process.stdin)
        process.stdin.flush()
    except (OSError, ValueError):  # it has died: whoever listens to it will notice
        return
