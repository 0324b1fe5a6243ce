"""What plugins register: the values, and the checks each registration passes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from threedis_core.errors import PluginError

Kind = Literal[
    "renderer",
    "depth model",
    "depth estimator",
    "region refiner",
    "instance detector",
    "metric",
    "benchmark",
]

# No dots: `--set sd15.steps=30` splits at the first one. Names also become file names.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class PluginSource:
    """Where a plugin comes from: its distribution, that one's version, and its module."""

    distribution: str
    version: str = ""
    module: str = ""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class TrainedOn:
    """What a model has seen in its training; beyond it, it is likely to fail. None: not known.

    Args:
        smallest_box: The least side of a box, as a share of the picture's.
        most_instances: In one picture.
        most_overlap: The share of the smaller of two boxes that the other covers.
        sides: The least and the greatest side of a picture, in pixels.
        colours: The words for colours that it knows.
    """

    smallest_box: float | None = None
    most_instances: int | None = None
    most_overlap: float | None = None
    sides: tuple[int, int] | None = None
    colours: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Registration:
    """A class, by the name it is chosen with.

    Args:
        kind: Which interface the class implements.
        name: What a person writes to choose it.
        target: "package.module:ClassName", imported when it is used.
        summary: One line for the listing.
        source: The plugin that registered it.
    """

    kind: Kind
    name: str
    target: str
    summary: str
    source: PluginSource


@dataclass(frozen=True)
class Preset:
    """A name for a registered backend with options already set.

    ``trained_on`` is what its model has seen; None: what the backend says of itself.
    """

    name: str
    backend: str
    options: Mapping[str, Any]
    summary: str
    source: PluginSource
    trained_on: TrainedOn | None = None


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that does not work, or a part of it, and why.

    Args:
        source: The plugin.
        reason: One line.
        name: The one name that it lost to another plugin; "" if something else is wrong.
    """

    source: PluginSource
    reason: str
    name: str = ""


@dataclass
class Staging:
    """What one plugin registers, kept apart until all of it has been accepted.

    ``lost`` has the names that somebody else has already, each with what to say about it.
    """

    source: PluginSource
    taken: Mapping[str, Registration | Preset]
    entries: dict[str, Registration | Preset] = field(
        default_factory=dict[str, "Registration | Preset"]
    )
    lost: dict[str, str] = field(default_factory=dict[str, str])

    def register(self, kind: Kind, name: str, target: str, summary: str = "") -> None:
        """Stage a class; not if its name is taken.

        Raises:
            PluginError: A bad name or target.
        """
        _check_name(name)
        if not isinstance(target, str) or not TARGET.fullmatch(target):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PluginError(
                f"{kind} '{name}' has the target {target!r}; expected 'package.module:ClassName'"
            )
        self._stage(Registration(kind, name, target, str(summary), self.source))

    def register_preset(
        self,
        name: str,
        backend: str,
        options: Mapping[str, Any],
        summary: str = "",
        trained_on: TrainedOn | None = None,
    ) -> None:
        """Stage a preset; not if its name is taken, or the name of its backend was.

        Raises:
            PluginError: A bad name, options that are no mapping, or ``trained_on`` of another type.
        """
        _check_name(name)
        if not isinstance(options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PluginError(f"preset '{name}' has options {options!r}; expected a mapping")
        if not isinstance(trained_on, TrainedOn | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PluginError(
                f"preset '{name}' has trained_on {trained_on!r}; expected a TrainedOn"
            )
        if backend in self.lost:  # what has that name is not what the options were meant for
            self.lost[name] = f"its preset '{name}' is left out with it: {self.lost[backend]}"
            return
        chosen = deepcopy(dict(options))
        self._stage(Preset(name, str(backend), chosen, str(summary), self.source, trained_on))

    def _stage(self, entry: Registration | Preset) -> None:
        other = self.entries.get(entry.name) or self.taken.get(entry.name)
        if other is None:
            self.entries[entry.name] = entry
            return
        if other.source == self.source:
            self.lost[entry.name] = f"it registers the name '{entry.name}' twice; the first stays"
            return
        self.lost[entry.name] = (
            f"the name '{entry.name}' of {self.source} is already registered by {other.source}, "
            "which keeps it; uninstall one of them"
        )


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PluginError(
            f"the name {name!r} is not valid; expected lower-case letters, digits, "
            "'-' and '_', at most 64"
        )


def iterate_presets(entries: Mapping[str, Registration | Preset]) -> Iterator[Preset]:
    """The presets among ``entries``."""
    return (entry for entry in entries.values() if isinstance(entry, Preset))
