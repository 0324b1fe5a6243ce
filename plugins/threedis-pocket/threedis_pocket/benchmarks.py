"""The pocket world's held-out layouts as benchmarks, for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from threedis_core.plugin.interfaces import BackendOptions
from threedis_core.plugin.judging.benchmarks import Benchmark
from threedis_core.values.layout import Layout


class PocketOptions(BackendOptions):
    """How many layouts; they are numbered, so that fewer are the first of more."""

    count: int = Field(default=96, ge=1, le=100_000, description="How many layouts.")


class PocketTest(Benchmark):
    """Two to five objects at 128 px, mostly visible; shapes repeat, colours do not."""

    Options: ClassVar[type[PocketOptions]] = PocketOptions
    options: PocketOptions

    def layouts(self) -> Sequence[Layout]:
        """The first layouts of the split that training never draws from."""
        from threedis_pocket.layouts import sample_layouts  # brings torch

        return _named("test", sample_layouts("test", self.options.count))


class PocketWild(Benchmark):
    """As people draw them: one to eight objects of any size, no labels, in many formats."""

    Options: ClassVar[type[PocketOptions]] = PocketOptions
    options: PocketOptions

    def layouts(self) -> Sequence[Layout]:
        """The first wild layouts of the split that training never draws from."""
        from threedis_pocket.layouts import wild_layouts  # brings torch

        return _named("wild", wild_layouts("test", self.options.count))


def _named(split: str, layouts: Sequence[Layout]) -> list[Layout]:
    return [
        layout.model_copy(update={"id": f"{split}-{number:04d}"})
        for number, layout in enumerate(layouts)
    ]
