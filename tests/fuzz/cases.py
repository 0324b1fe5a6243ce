"""What a fuzzing case is, and the families that cases come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

Prepare = Callable[[Path], None]
"""Writes a case's files into its working folder, which is empty."""

DONE = frozenset({0})
FAILED = frozenset({1})
REFUSED = frozenset({2})
DONE_OR_REFUSED = DONE | REFUSED
REFUSED_OR_FAILED = REFUSED | FAILED
ANY = DONE | REFUSED | FAILED


@dataclass(frozen=True)
class Surroundings:
    """Where a command runs, beside its working folder.

    Args:
        environment: Variables to set, or to remove where the value is None; ``{work}`` stands for
            the working folder.
        stdin: ``null`` or ``closed``.
        stdout: ``read``, ``closed``, ``full`` (a full disk) or ``broken`` (a pipe nobody reads).
        most_bytes: The largest file the command may write; None: no limit.
        unprivileged: Permissions count, even if the superuser runs the case.
        together: How many of the same command are started at once.
        killed_after: Seconds after which it is killed; None: it is not.
    """

    environment: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    stdin: str = "null"
    stdout: str = "read"
    most_bytes: int | None = None
    unprivileged: bool = False
    together: int = 1
    killed_after: float | None = None


@dataclass(frozen=True)
class Case:
    """One command line in a folder of its own, and how it may end.

    Args:
        name: What is odd about it.
        arguments: What follows ``threedis``; ``{work}`` stands for the working folder.
        codes: The exit codes that are right.
        prepare: Writes its files.
        outputs: What a success may write, by the start of its path in the working folder.
        is_json: A success prints one JSON document.
        keeps_part: A failure (exit code 1) may leave complete files under ``outputs``.
        plugins: The working folder's ``site`` holds plugins.
        fresh: Run it in a new interpreter, not in a fork of this one.
        chatty: Libraries may write lines of their own on stderr; or help is printed.
        loads_models: Model libraries are imported, which takes memory.
        limit_s: Seconds that it may compute.
        heavy: It takes seconds, and is left out of the test suite.
        surroundings: Where it runs.
    """

    name: str
    arguments: tuple[str, ...]
    codes: frozenset[int]
    prepare: Prepare
    outputs: tuple[str, ...] = ()
    is_json: bool = False
    keeps_part: bool = False
    plugins: bool = False
    fresh: bool = False
    chatty: bool = False
    loads_models: bool = False
    limit_s: int = 10
    heavy: bool = False
    surroundings: Surroundings = Surroundings()


Recipe = Callable[[Random], Case]


@dataclass(frozen=True)
class Family:
    """Cases of one kind, each made from a seed and its number alone.

    Args:
        name: What the command line calls it.
        recipes: They take turns.
        share: How many of 100 cases of a long run are of this family.
        in_tests: How many cases ``make test`` runs.
        libraries: Modules to import before the first case, which all cases then share.
    """

    name: str
    recipes: Sequence[Recipe]
    share: float
    in_tests: int
    libraries: tuple[str, ...] = ()

    def case(self, seed: int, number: int) -> Case:
        """The case of that number; the same for the same seed."""
        random = Random(f"{seed} {self.name} {number}")
        return self.recipes[number % len(self.recipes)](random)
