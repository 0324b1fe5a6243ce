"""What one writer of a comparison writes: files that are complete, and events that inform."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from threedis_core.compare.folder import DEPTH, RENDER, CompareFolder
from threedis_core.compare.work.tasks import Failure
from threedis_core.files.atomic import write_atomically
from threedis_core.files.together import Together
from threedis_core.run.folder import told_as_not_written

BATCH = ".batch-"
"""How the folders begin in which the pictures of a batch wait to appear together."""


def place_of(folder: CompareFolder, stage: str, key: str) -> Path:
    """The file that a stage makes of a key."""
    kind, _, name = stage.partition("-")
    if stage == DEPTH:
        return folder.depth(key)
    if stage == RENDER:
        return folder.picture(key)
    return folder.detection(name, key) if kind == "detect" else folder.score(name, key)


class Ledger:
    """Writes for one process; no other one writes into its file of events.

    Args:
        folder: The comparison's folder.
    """

    def __init__(self, folder: CompareFolder) -> None:
        self.folder = folder
        begun = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        host = "".join(one if one.isalnum() else "-" for one in socket.gethostname())[:40]
        self._events = folder.path / "events" / f"{begun}-{host}-{os.getpid()}.jsonl"
        self._file: BinaryIO | None = None

    def keep(self, stage: str, batch: int | None, files: Mapping[str, bytes]) -> None:
        """Write what a task has made, by key; the pictures of a batch appear together.

        Raises:
            RenderError: It cannot be written; what was there is as it was.
        """
        places = {place_of(self.folder, stage, key): data for key, data in files.items()}
        for parent in {place.parent for place in places}:
            with told_as_not_written(parent):
                parent.mkdir(parents=True, exist_ok=True)
        if stage != RENDER or len(places) < 2:
            for place, data in places.items():
                with told_as_not_written(place):
                    write_atomically(place, data, durable=stage in (DEPTH, RENDER))
            return
        first = next(iter(places))
        together = Together(first.with_name(f"{BATCH}{batch}"))
        with told_as_not_written(first):
            together.sweep()
            with together.written() as waiting:
                for place, data in places.items():
                    write_atomically(waiting / place.name, data)
            together.move_out()

    def fail(self, stage: str, keys: Iterable[str], failure: Failure) -> None:
        """Record that jobs failed.

        Raises:
            RenderError: It cannot be written.
        """
        document = {"error": failure.error, "code": failure.code}
        for key in keys:
            place = self.folder.failure(stage, key)
            with told_as_not_written(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, (json.dumps(document) + "\n").encode())
            self.tell("failed", stage=stage, job=key, **document)

    def forgive(self, stage: str, keys: Iterable[str]) -> None:
        """Forget that jobs failed, so that they are tried again."""
        for key in keys:
            self.folder.failure(stage, key).unlink(missing_ok=True)

    def tell(self, kind: str, **facts: Any) -> None:
        """Add an event to this writer's file.

        Raises:
            RenderError: It cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"kind": kind, "time": now, **facts}) + "\n"
        with told_as_not_written(self._events):
            if self._file is None:
                self._events.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._events.open("ab", buffering=0)
            self._file.write(line.encode())

    def close(self) -> None:
        """End this writer's file of events."""
        if self._file is not None:
            self._file.close()


def sweep(folder: CompareFolder, batches: Sequence[int] | None) -> None:
    """Finish or remove what a killed writer has left half done.

    Args:
        folder: The comparison's folder.
        batches: The batches that nobody else may be at work on; None: nobody else is at work at
            all.
    """
    pictures = folder.path / "pictures"
    if not pictures.is_dir() and batches is not None:
        return
    names = {f"{BATCH}{number}" for number in batches or ()}
    for place in sorted(pictures.glob(f"{BATCH}*")):
        together = Together(place.with_suffix("") if place.suffix else place)
        if batches is None or together.batch.name in names:
            together.move_out()
            together.sweep()
    if batches is None:
        for half in folder.path.glob("**/.*.part"):
            half.unlink(missing_ok=True)
