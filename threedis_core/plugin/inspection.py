"""What a backend needs on this machine: files, a device, memory; found without loading anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class NeededFile:
    """A file that a backend reads.

    Args:
        path: Its path inside the folder or repository; ``*`` stands for a part that is not known.
        size: Bytes; of a file that is not there as published, None if that is not known.
        present: True if it is on this machine.
    """

    path: str
    size: int | None
    present: bool


@dataclass(frozen=True)
class ModelPart:
    """A part of a model: a U-Net, a tokenizer, a LoRA.

    Args:
        name: What it is.
        source: The local folder or the hub repository it comes from.
        files: What is read of it.
    """

    name: str
    source: str
    files: tuple[NeededFile, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Paths of the files that are not there."""
        return tuple(file.path for file in self.files if not file.present)

    @property
    def size(self) -> int | None:
        """Bytes of its files, as far as they are known; None if of none."""
        known = [file.size for file in self.files if file.size is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Download:
    """Files of one repository that are missing.

    Args:
        source: The repository; "owner/name@revision" where it is not the main branch.
        files: Their paths inside, ``*`` for what is not known.
        size: Bytes, as far as they are known; None if of no file.
        licence: Its name, or where to read it.
        gated: True if the licence must be accepted, with an account, first.
    """

    source: str
    files: tuple[str, ...]
    size: int | None = None
    licence: str = ""
    gated: bool = False


@dataclass(frozen=True)
class MemoryNeed:
    """What one way to place the model needs.

    Args:
        offload: The way, as the backend's option names it.
        device: Bytes of the accelerator's memory; 0 where there is none.
        main: Bytes of main memory.
    """

    offload: str
    device: int
    main: int


@dataclass(frozen=True)
class Inspection:
    """What a backend needs, and what of it is there.

    Args:
        device: Where it would run ("cuda:0", "cpu"); "" if it does not matter.
        dtype: The number format it would use; "" if it does not matter.
        parts: The parts of its model.
        memory: What each way to place the model needs, the roomiest first; empty if not known.
        memory_basis: Where those figures come from, in words.
        downloads: What of it is missing and can be fetched.
        commands: What to type to get what is missing.
        notes: Lines worth knowing: the licence, that a login is needed.
        problems: Lines that say why it cannot work, missing files aside.
    """

    device: str = ""
    dtype: str = ""
    parts: tuple[ModelPart, ...] = ()
    memory: tuple[MemoryNeed, ...] = ()
    memory_basis: str = ""
    downloads: tuple[Download, ...] = ()
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """True if nothing is missing and nothing is wrong."""
        return not self.problems and not any(part.missing for part in self.parts)

    def missing(self) -> Iterator[tuple[str, str]]:
        """(source, path) of every file that is not there."""
        for part in self.parts:
            for path in part.missing:
                yield part.source, path
