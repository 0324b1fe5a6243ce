"""What reading training data finds: examples, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from threedis_core.values.layout import Layout


@dataclass(frozen=True)
class Example:
    """One picture to learn from; nothing of it is opened yet.

    Args:
        name: What it is called; no other example of its data has that name.
        image: Its picture; None: there is only a depth map.
        depth: Its depth map, 1 nearest; None: to be estimated from the picture.
        layout: Its caption as the prompt, and what is where; boxes are fractions of the picture.
    """

    name: str
    image: Path | None
    depth: Path | None
    layout: Layout


@dataclass(frozen=True)
class BadExample:
    """An example that cannot be used.

    Args:
        name: The example's name, or where it stands in its file.
        kind: What is wrong, as few words that many examples can share: "missing image".
        detail: The same for this one, with what was found.
    """

    name: str
    kind: str
    detail: str


@dataclass(frozen=True)
class FoundExamples:
    """The data of a training.

    Args:
        examples: Those that can be used as far as is known without opening a picture.
        bad: The others.
    """

    examples: tuple[Example, ...]
    bad: tuple[BadExample, ...] = ()


class BadExampleError(Exception):
    """Raised inside a reader, to leave an example by its first problem.

    Args:
        kind: As in ``BadExample``.
        detail: Likewise.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail

    def named(self, name: str) -> BadExample:
        """The bad example of that name."""
        return BadExample(name, self.kind, self.detail)


def check_there(path: Path, what: str) -> Path:
    """Return ``path``, which is an example's ``what`` ("image", "depth").

    Raises:
        BadExampleError: There is no such file.
    """
    if not path.is_file():
        raise BadExampleError(f"missing {what}", f"{path}: no such file")
    return path
