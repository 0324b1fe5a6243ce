"""Run a case: in a fork of this process, which is quick, or in a new interpreter.

Both are processes of their own, so that a case can be killed, measured, and spoil nothing.
"""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cases import Case
from fence import keep_inside, obey_permissions

PATIENCE = 3
"""On a busy machine a command takes so many times longer by the clock than it computes."""
ADDRESS_SPACE = 24 * 2**30
"""Far above what is judged; protects the machine."""
NEW_INTERPRETER_MIB = 150
MODEL_LIBRARIES_MIB = 700


@dataclass(frozen=True)
class Place:
    """The folders of one case, all inside one temporary folder."""

    root: Path

    @property
    def work(self) -> Path:
        """The working folder of the command."""
        return self.root / "work"

    @property
    def temporary(self) -> Path:
        """$TMPDIR of the command."""
        return self.root / "tmp"

    @property
    def marker(self) -> Path:
        """The file that code in data would make, if it ran."""
        return self.root / "executed"

    def make(self) -> None:
        """Make the folders, empty."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("work", "tmp", "home", "cache"):
            (self.root / name).mkdir(parents=True)


@dataclass(frozen=True)
class Finished:
    """How one process of a case ended.

    Args:
        code: Exit code; below zero the signal that ended it.
        out: What it printed.
        err: What it printed on stderr.
        seconds: Wall-clock time.
        memory: MiB that it held at most, beyond what it started with.
        hung: It had to be killed.
    """

    code: int
    out: bytes
    err: bytes
    seconds: float
    memory: float
    hung: bool


def run_case(case: Case, place: Place) -> list[Finished]:
    """Run the command of a case whose files are prepared; one result per process."""
    started = [_start(case, place) for _ in range(case.surroundings.together)]
    base = _own_memory()
    if case.fresh:
        base = max(base, MODEL_LIBRARIES_MIB if case.loads_models else NEW_INTERPRETER_MIB)
    return [_wait(case, one, base) for one in started]


def filled_in(text: str, place: Place) -> str:
    """``text`` with the working folder's path where it stands for it."""
    return text.replace("{work}", str(place.work))


def _own_memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@dataclass(frozen=True)
class _Started:
    """A process, when it started, and the pipes that it prints into."""

    pid: int
    since: float
    out: int
    err: int


def _start(case: Case, place: Place) -> _Started:
    out, err = (os.pipe() for _ in range(2))
    pid = os.fork()
    if pid == 0:
        try:
            _become(case, place, out[1], err[1])
        except BaseException:  # the harness itself is at fault, which must not look like a result
            os.write(2, traceback.format_exc().encode(errors="replace"))
        finally:
            os._exit(99)
    for reader, writer in (out, err):
        os.close(writer)
        os.set_blocking(reader, False)
    return _Started(pid, time.monotonic(), out[0], err[0])


def _wait(case: Case, started: _Started, base: float) -> Finished:
    hung = False
    end = case.surroundings.killed_after or case.limit_s * PATIENCE
    pause = 0.001
    out, err = bytearray(), bytearray()
    while True:
        found, status, used = os.wait4(started.pid, os.WNOHANG)
        _drain(started.out, out)
        _drain(started.err, err)
        if found:
            break
        if time.monotonic() - started.since > end:
            hung = case.surroundings.killed_after is None
            os.killpg(started.pid, signal.SIGKILL)
            _, status, used = os.wait4(started.pid, 0)
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    seconds = time.monotonic() - started.since
    os.close(started.out)
    os.close(started.err)
    memory = used.ru_maxrss / 1024 - base
    hung |= used.ru_utime + used.ru_stime > case.limit_s
    code = os.waitstatus_to_exitcode(status)
    return Finished(code, bytes(out), bytes(err), seconds, memory, hung)


def _drain(pipe: int, into: bytearray) -> None:
    """Take what is in ``pipe``; a process that prints must never wait for its reader."""
    try:
        while data := os.read(pipe, 2**16):
            into += data
    except BlockingIOError:
        pass


def _become(case: Case, place: Place, out: int, err: int) -> NoReturn:
    """Turn this forked process into the command of ``case``."""
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    environment = _environment(case, place)
    os.chdir(place.work)
    _limit(case)
    _connect(case, out, err)
    if case.surroundings.unprivileged and os.getuid() == 0:
        obey_permissions()
    keep_inside([place.root])
    arguments = [filled_in(argument, place) for argument in case.arguments]
    if case.fresh:
        command = [sys.executable, "-m", "threedis_core.cli", *arguments]
        os.execve(sys.executable, [os.fsencode(part) for part in command], environment)
    os.environ.clear()
    os.environ.update(environment)
    _run_here(arguments, place.work / "site" if case.plugins else None)


def _environment(case: Case, place: Place) -> dict[str, str]:
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG")
    site = [str(place.work / "site")] if case.plugins else []
    values: dict[str, str | None] = {name: os.environ.get(name) for name in kept}
    values |= {
        "HOME": str(place.root / "home"),
        "TMPDIR": str(place.temporary),
        "THREEDIS_CACHE": str(place.root / "cache"),
        "PYTHONPATH": os.pathsep.join([*site, *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    values |= case.surroundings.environment
    return {name: filled_in(text, place) for name, text in values.items() if text is not None}


def _limit(case: Case) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (case.limit_s + 1, case.limit_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    if (most := case.surroundings.most_bytes) is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _connect(case: Case, out: int, err: int) -> None:
    """Put what the case wants in the place of the three streams."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    if case.surroundings.stdin == "closed":
        os.close(0)
    if case.surroundings.stdout == "closed":
        os.close(1)
    elif case.surroundings.stdout == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    elif case.surroundings.stdout == "broken":
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)


def _run_here(arguments: Sequence[str], site: Path | None) -> NoReturn:
    """What a new interpreter would do, without the time that one takes to start."""
    atexit._clear()
    tempfile.tempdir = None
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = ["threedis", *arguments]
    if site is not None:
        sys.path.insert(0, str(site))
    from threedis_core.cli import main

    code: object = 0
    try:
        main(list(arguments))
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    os._exit(_closed(code))


def _closed(code: object) -> int:
    """Flush both streams; the exit code, as an interpreter would give it."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"Exception ignored while flushing sys.stdout: {error}", file=sys.stderr)
        code = 120
    sys.stderr.flush()
    return (code or 0) & 0xFF
