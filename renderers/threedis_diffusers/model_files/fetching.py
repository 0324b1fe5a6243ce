"""Fetch exactly the files that are missing; what was begun goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatch

from threedis_core.plugin.inspection import Download, Inspection
from threedis_diffusers.model_files.sources import ModelSource

MOST_ROUNDS = 3
"""An index tells which files it needs once it is there."""


def fetch_missing(inspect: Callable[[], Inspection]) -> None:
    """Fetch what an inspection says is missing, and what the next one then says.

    Args:
        inspect: Looks what is missing.
    Raises:
        WeightsError: A file cannot be fetched.
    """
    asked: set[tuple[str, str]] = set()
    for _ in range(MOST_ROUNDS):
        wanted = {(one.source, file) for one in inspect().downloads for file in files_of(one)}
        for name, file in sorted(wanted - asked):
            ModelSource(name).get(file)
        if wanted <= asked:
            return
        asked |= wanted


def files_of(download: Download) -> Iterator[str]:
    """The files that a download means: those of the repository where it names a pattern."""
    source, patterns = ModelSource(download.source), list[str]()
    for file in download.files:
        if "*" in file:
            patterns.append(file)
        else:
            yield file
    if patterns:
        for name in source.listed():
            if any(fnmatch(name, pattern) for pattern in patterns):
                yield name
