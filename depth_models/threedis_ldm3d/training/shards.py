"""A cache of one tensor per example, in checksummed safetensors files that a kill cannot spoil."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from threedis_core.errors import DataError
from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.progress import Progress, silent
from threedis_ldm3d.training.example import BadExample, Example

ROWS = "rows"
"""The name of the tensor in each file."""
HEADER = "threedis"
"""The one entry of each file's metadata: several would come in an order that changes."""


@dataclass(frozen=True, eq=False)
class MadeExample:
    """What was made of some examples.

    Args:
        rows: One row per example that something was made of, shape (K, ...).
        kept: Which examples these are: K places among those given, in rising order.
        bad: Examples that cannot be used. One that is in neither list is left out in silence.
    """

    rows: Tensor
    kept: Sequence[int]
    bad: Sequence[BadExample] = ()


Make = Callable[[int, Sequence[Example]], MadeExample]
"""Makes the rows of the shard of that number from its examples."""


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of a cache.

    Args:
        file: Where it is.
        kept: The examples it has rows of, as places among the shard's examples.
        bad: Those that cannot be used.
    """

    file: Path
    kept: tuple[int, ...]
    bad: tuple[BadExample, ...]

    def read(self, rows: Sequence[int]) -> Tensor:
        """Those rows of the file, and no others, from a memory map.

        Raises:
            DataError: The file is not what it was when the cache was opened.
        """
        try:
            with safe_open(self.file, "pt") as opened:
                part = opened.get_slice(ROWS)
                return torch.cat([part[row : row + 1] for row in rows])
        except (OSError, SafetensorError, IndexError) as error:
            raise DataError(
                f"{self.file}: cannot be read any more ({error!s:.100}); start again, and it is "
                "made again"
            ) from error


class Shards:
    """A folder with one row for each usable example of a list.

    Shard i holds examples i * size to (i + 1) * size, and is a file of its own beside its SHA-256.
    It is made again if what went into it has changed: the fingerprint, the examples' names, or
    their files' sizes or times of change.

    Args:
        folder: Where the files are; made when the first is written.
        fingerprint: Says how rows are made; other rows need another one.
        size: Examples of a shard.
    """

    def __init__(self, folder: str | Path, fingerprint: str, size: int = 64) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.size = size
        self._all: tuple[Example, ...] = ()
        self._shards: list[Shard] = []
        self._rows: list[tuple[int, int]] = []
        self.examples: tuple[Example, ...] = ()
        """The examples that have a row, in order. Known when the cache is open."""
        self.bad: tuple[BadExample, ...] = ()
        """Those that cannot be used. Known when the cache is open."""

    def build(
        self,
        examples: Sequence[Example],
        make: Make,
        progress: Progress = silent,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Make what is not there yet; call ``open`` when all processes are through.

        Args:
            examples: All of them; every process gives the same.
            make: Makes the rows of one shard.
            progress: Told how many of this process's examples are done.
            rank: This process; it makes every ``world``-th shard.
            world: How many processes build at once.
        Raises:
            DataError: A file cannot be written.
        """
        self._all = tuple(examples)
        mine = range(self._count())[rank::world]
        total = sum(len(self._part(number)) for number in mine)
        done = 0
        for number in mine:
            self.shard(number, self._part(number), make)
            done += len(self._part(number))
            progress("cache", done, total)

    def shard(self, number: int, examples: Sequence[Example], make: Make) -> Shard:
        """The shard of that number, made if it is missing, stale or corrupt.

        Raises:
            DataError: It cannot be written.
        """
        inputs = _inputs(examples)
        if self._is_whole(number) and (shard := self._load(number, inputs, len(examples))):
            return shard
        return self._write(number, inputs, make(number, examples))

    def open(self) -> None:
        """Get ready to read what ``build`` has made in all processes.

        Raises:
            DataError: A shard is not there.
        """
        self._shards = [self._need(number) for number in range(self._count())]
        places = [
            (number, row, number * self.size + place)
            for number, shard in enumerate(self._shards)
            for row, place in enumerate(shard.kept)
        ]
        self._rows = [(number, row) for number, row, _ in places]
        self.examples = tuple(self._all[place] for _, _, place in places)
        self.bad = tuple(example for shard in self._shards for example in shard.bad)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: Sequence[int]) -> Tensor:
        """The rows of ``examples[i]`` for i in ``indices``, in that order, shape (B, ...)."""
        wanted: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            wanted.setdefault(self._rows[index][0], []).append(place)
        read: dict[int, Tensor] = {}
        for number, places in wanted.items():
            rows = self._shards[number].read([self._rows[indices[place]][1] for place in places])
            read.update(zip(places, rows, strict=True))
        return torch.stack([read[place] for place in range(len(indices))])

    def _count(self) -> int:
        return -(-len(self._all) // self.size)

    def _part(self, number: int) -> tuple[Example, ...]:
        return self._all[number * self.size : (number + 1) * self.size]

    def _file(self, number: int) -> Path:
        return self.folder / f"shard-{number:05}.safetensors"

    def _sidecar(self, number: int) -> Path:
        return self._file(number).with_suffix(".sha256")

    def _is_whole(self, number: int) -> bool:
        """True if the shard was finished and still has the bytes that were written."""
        file, sidecar = self._file(number), self._sidecar(number)
        if not (file.is_file() and sidecar.is_file()):
            return False
        if sidecar.read_bytes() == _checksum_line(file):
            return True
        warnings.warn(f"{file}: corrupt, its checksum is wrong; it is made again", stacklevel=2)
        return False

    def _load(self, number: int, inputs: str, count: int) -> Shard | None:
        """The shard of ``count`` examples, or None if the file is that of something else."""
        file = self._file(number)
        try:
            with safe_open(file, "pt") as opened:
                header = json.loads((opened.metadata() or {})[HEADER])
                rows = opened.get_slice(ROWS).get_shape()[0]
            if (header["fingerprint"], header["inputs"]) != (self.fingerprint, inputs):
                return None
            kept = tuple(header["kept"])
            bad = tuple(BadExample(**one) for one in header["bad"])
        except (OSError, SafetensorError, ValueError, LookupError, TypeError, RecursionError):
            return None
        places = range(count)
        fits = len(kept) == rows and all(type(place) is int and place in places for place in kept)
        told = all(isinstance(text, str) for example in bad for text in astuple(example))
        return Shard(file, kept, bad) if fits and told else None

    def _need(self, number: int) -> Shard:
        file = self._file(number)
        shard = None
        if file.is_file() and self._sidecar(number).is_file():
            part = self._part(number)
            shard = self._load(number, _inputs(part), len(part))
        if shard is None:
            raise DataError(f"{file}: not built; build it, and wait for every process that does")
        return shard

    def _write(self, number: int, inputs: str, made: MadeExample) -> Shard:
        header = {
            "fingerprint": self.fingerprint,
            "inputs": inputs,
            "kept": list(made.kept),
            "bad": [asdict(example) for example in made.bad],
        }
        content = save({ROWS: made.rows.contiguous()}, {HEADER: json.dumps(header)})
        file = self._file(number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Without its checksum a file is not finished.
            self._sidecar(number).unlink(missing_ok=True)
            write_atomically(file, content)
            write_atomically(self._sidecar(number), _checksum_line(file))
        except OSError as error:
            raise DataError(f"{file}: cannot be written: {error.strerror}") from error
        return Shard(file, tuple(made.kept), tuple(made.bad))


def _checksum_line(file: Path) -> bytes:
    """As ``sha256sum`` writes it, so that it can check a cache."""
    with file.open("rb") as opened:
        return f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file.name}\n".encode()


def _inputs(examples: Sequence[Example]) -> str:
    """A checksum of the examples' names and of what tells that one of their files has changed."""
    digest = hashlib.sha256()
    for example in examples:
        stamps = [_stamp(file) for file in (example.image, example.depth)]
        digest.update(json.dumps([example.name, stamps]).encode())
    return digest.hexdigest()


def _stamp(file: Path | None) -> list[int] | None:
    if file is None or not file.exists():
        return None
    facts = file.stat()
    return [facts.st_size, facts.st_mtime_ns]
