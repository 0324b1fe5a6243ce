"""The rules that say whether a case ended cleanly."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import Case
from PIL import Image
from runner import Finished, Place

KINDS = (
    "traceback",
    "hang",
    "memory",
    "exit code",
    "output",
    "written",
    "executed",
    "harness",
)
"""What can be wrong, in the order of the table's columns."""
MOST_MIB = 1024
NOTE = "threedis: "
"""How lines on stderr begin that say how the work goes."""
TRACEBACK = "Traceback (most recent call last)"
KILLED = -9
# Terminals act on these; tabs and line breaks are what plain text is made of.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HASHED = 2**20
NAMES_AND_NUMBERS = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d+")

Tree = Mapping[bytes, tuple[object, ...]]


@dataclass(frozen=True)
class Fault:
    """One rule that a case broke: one of ``KINDS``, and what was seen."""

    kind: str
    detail: str

    @property
    def sort(self) -> str:
        """What faults of one cause have in common: the end, without names and numbers."""
        end = (self.detail.splitlines() or [""])[-1]
        return f"{self.kind}: {re.sub(NAMES_AND_NUMBERS, '*', end)[:70]}"


def tree_of(place: Place) -> Tree:
    """Everything in a case's working folder and temporary folder, by path."""
    found: dict[bytes, tuple[object, ...]] = {}
    for name in (b"work", b"tmp"):
        _walk(os.fsencode(place.root) + b"/" + name, name, found)
    return found


def judge(
    case: Case, place: Place, finished: Sequence[Finished], before: Tree
) -> tuple[Fault, ...]:
    """Every rule that the case broke; none if it ended cleanly."""
    faults = [fault for one in finished for fault in _one_process(case, one)]
    faults += _written(case, place, finished, before)
    if place.marker.exists():
        faults.append(Fault("executed", "code in the data ran"))
    return tuple(faults)


def _one_process(case: Case, one: Finished) -> Iterator[Fault]:
    if one.hung:
        yield Fault("hang", f"killed after {one.seconds:.0f} s")
        return
    if case.surroundings.killed_after is not None and one.code == KILLED:
        return
    out, err = (data.decode("utf-8", "surrogateescape") for data in (one.out, one.err))
    if TRACEBACK in err or TRACEBACK in out or "Exception ignored" in err:
        yield Fault("traceback", _last_lines(err if err.strip() else out))
    if one.memory > MOST_MIB:
        yield Fault("memory", f"{one.memory:.0f} MiB")
    if one.code not in case.codes:
        expected = " or ".join(str(code) for code in sorted(case.codes))
        yield Fault("exit code", f"{one.code}, expected {expected}: {_last_lines(err)}")
    elif TRACEBACK not in err:
        yield from _output(case, one.code, out, err)


def _output(case: Case, code: int, out: str, err: str) -> Iterator[Fault]:
    for name, text in (("stdout", out), ("stderr", err)):
        if found := CONTROL.search(text):
            start = max(0, found.start() - 30)
            yield Fault("output", f"control character on {name}: {text[start : found.end()]!r}")
    lines = [line for line in err.splitlines() if not line.startswith(NOTE)]
    if case.surroundings.stdout == "broken" and not lines:
        return  # nobody listens any more, as after "| head"; there is nothing to say
    if code == 0:
        if case.is_json:
            yield from _json(out)
        if not case.chatty and not all(line.startswith("warning: ") for line in lines):
            yield Fault("output", f"stderr of a success: {_last_lines(err)}")
        return
    if case.chatty:
        lines = lines[-1:]
    warned = [line for line in lines if not line.startswith("warning: ")]
    if len(warned) != 1 or not warned[0].startswith("error: "):
        yield Fault("output", f"expected one line 'error: ...': {_last_lines(err)!r}")
    elif len(warned[0]) > 4000:
        yield Fault("output", f"an error line of {len(warned[0])} letters")
    if out and not case.chatty:
        yield Fault("output", f"stdout of a failure: {out[:200]!r}")


def _json(text: str) -> Iterator[Fault]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        yield Fault("output", f"stdout is not JSON: {error}")


def _written(
    case: Case, place: Place, finished: Sequence[Finished], before: Tree
) -> Iterator[Fault]:
    after = tree_of(place)
    was_killed = case.surroundings.killed_after is not None
    was_killed |= any(one.hung for one in finished)
    partly = was_killed or (case.keeps_part and any(one.code == 1 for one in finished))
    may_write = partly or any(one.code in (0, 120) for one in finished)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        name = os.fsdecode(path)
        inside = os.fsdecode(path.partition(b"/")[2])
        expected = may_write and any(inside.startswith(start) for start in case.outputs)
        if was_killed and (name.endswith(".part") or name.startswith("tmp/")):
            continue
        if not expected:
            how = "changed" if path in before and path in after else "made"
            how = how if path in after else "removed"
            yield Fault("written", f"{how} {name[:200]!r}")
        elif path in after and (reason := _half(place.root / name)):
            yield Fault("written", f"half a file: {name!r}: {reason}")


def _half(path: Path) -> str:
    """Why a file is not complete; nothing if it is."""
    if not path.is_file():
        return ""
    try:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
    except Exception as error:  # a picture's reader raises almost anything
        return str(error)[:100] or type(error).__name__
    return ""


def _walk(folder: bytes, name: bytes, found: dict[bytes, tuple[object, ...]]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = name + b"/" + entry.name
            state = entry.stat(follow_symlinks=False)
            found[path] = (stat.S_IFMT(state.st_mode), state.st_rdev, _content(entry, state))
            if stat.S_ISDIR(state.st_mode):
                _walk(entry.path, path, found)


def _content(entry: os.DirEntry[bytes], state: os.stat_result) -> object:
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(entry.path)
    if not stat.S_ISREG(state.st_mode):
        return None
    if state.st_size > HASHED:
        return state.st_size, state.st_mtime_ns
    with open(entry.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-4:])[-800:]
