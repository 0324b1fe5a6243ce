"""Modules that one part of a pipeline lends another, as Z-Image's transformer its ControlNet.

They are the lender's: they are counted, moved, and hooked with it, once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False)
class Held:
    """A module, and where it is held.

    Args:
        holder: The module that it is a child of.
        name: Its name there.
        module: It.
    """

    holder: nn.Module
    name: str
    module: nn.Module


def parts_of(pipeline: Any) -> dict[str, nn.Module]:
    """The parts of a pipeline that have weights, in its own order."""
    components = pipeline.components.items()
    return {name: part for name, part in components if isinstance(part, nn.Module)}


def borrowed(pipeline: Any) -> dict[str, list[Held]]:
    """By part, the outermost modules that an earlier part has, too; parts without any are not told.

    Args:
        pipeline: It is loaded.
    """
    seen: set[nn.Module] = set()
    found: dict[str, list[Held]] = {}
    for name, part in parts_of(pipeline).items():
        if held := [*holding(part, seen)]:
            found[name] = held
        seen.update(part.modules())
    return found


def holding(part: nn.Module, modules: Collection[nn.Module]) -> Iterator[Held]:
    """Where a part holds some of ``modules``, and not inside another of them."""
    for name, child in part.named_children():
        if child in modules:
            yield Held(part, name, child)
        else:
            yield from holding(child, modules)


@contextmanager
def set_aside(held: Iterable[Held]) -> Iterator[None]:
    """Take modules out of where they are held, while inside."""
    held = [*held]
    for one in held:
        setattr(one.holder, one.name, None)
    try:
        yield
    finally:
        for one in held:
            setattr(one.holder, one.name, one.module)


@contextmanager
def owned_alone(pipeline: Any) -> Iterator[None]:
    """Have each part of a pipeline hold no module that another has lent it, while inside."""
    with set_aside(one for held in borrowed(pipeline).values() for one in held):
        yield
