"""Write several files so that a killed process leaves all of them or none."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

PART = ".part"
"""How names of what is not complete end."""


@dataclass(frozen=True)
class Together:
    """Files that appear in a folder together.

    They are written into a folder of their own, which gets its name when it is complete, and are
    moved out from there. Whoever finds it moves them out.

    Args:
        batch: The folder of their own, in the one where they belong.
    """

    batch: Path

    @contextmanager
    def written(self) -> Generator[Path]:
        """Yield a folder to write into; at the end it is complete. After an error nothing is."""
        unfinished = self.batch.with_name(self.batch.name + PART)
        unfinished.mkdir()
        try:
            yield unfinished
            os.replace(unfinished, self.batch)
        except BaseException:
            rmtree(unfinished, ignore_errors=True)
            raise

    def move_out(self) -> None:
        """Move the files to where they belong, if they are complete."""
        if not self.batch.is_dir():
            return
        for file in sorted(self.batch.iterdir()):
            with suppress(FileNotFoundError):  # somebody else moves them too
                os.replace(file, self.batch.parent / file.name)
        with suppress(FileNotFoundError):
            self.batch.rmdir()

    def sweep(self) -> None:
        """Remove what was left incomplete."""
        rmtree(self.batch.with_name(self.batch.name + PART), ignore_errors=True)
