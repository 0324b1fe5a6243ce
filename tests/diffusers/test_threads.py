"""Threads render at once: every picture is the one it gives alone, and modules of others stay.

``benchmarks/stress_threads.py`` is the long form of it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from types import ModuleType


def test_pictures_of_many_threads_are_those_of_one(benchmark: Callable[[str], ModuleType]) -> None:
    stress = benchmark("stress_threads")
    arguments = Namespace(model=stress.MODELS, threads=4, rounds=2, steps=2)
    rows = list(stress.stress(arguments))
    assert [row["through"] for row in rows] == ["engine", "render"]
    for row in rows:
        assert row["pictures"] == 12
        assert row["modules"] > 0
        assert (row["wrong"], row["failures"], row["moved"]) == (0, 0, 0)
