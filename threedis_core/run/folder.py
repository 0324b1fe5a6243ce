"""The folder of a run: one run at a time in it, and a killed one leaves no half file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from threedis_core.errors import InputError, OptionError, RenderError
from threedis_core.files.atomic import check_writable

RUNS = Path("runs")
SLUG_LENGTH = 40
CLAIM = ".threedis-run"
"""A file that is in a run's folder while the run is at work."""
PROVENANCE = "threedis"
"""The keyword of the text in a PNG that holds a picture's provenance as JSON."""
ATTEMPTS = 100
"""How often a folder is made again that others keep taking away."""


@contextmanager
def default_run_folder(prompt: str, now: datetime) -> Generator[Path]:
    """Make ``runs/<timestamp>-<slug of the prompt>``, with a number if that is there already.

    The folder is made at once, so that no other run takes the same name, and removed again if
    nothing was written into it.

    Raises:
        OptionError: No folder can be made here.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    name = f"{now:%Y%m%d-%H%M%S}-{slug or 'layout'}"
    if RUNS.is_file():
        raise OptionError(f"{RUNS} is a file; expected a folder: name one with --out")
    folder = next(filter(_made, _numbered(RUNS / name)))
    try:
        yield folder
    finally:
        with suppress(OSError):  # they hold something: then they stay
            folder.rmdir()
            RUNS.rmdir()


def _numbered(folder: Path) -> Iterator[Path]:
    yield folder
    for number in count(2):
        yield folder.with_name(f"{folder.name}-{number}")


def _made(folder: Path) -> bool:
    """Make the folder; False if there is something of its name."""
    for _ in range(ATTEMPTS):
        try:
            with suppress(FileExistsError, FileNotFoundError):  # a run that ends takes it away
                folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OptionError(
                f"{folder} cannot be made: {error.strerror}; name another folder with --out"
            ) from error
        return True
    raise OptionError(f"{folder} cannot be made: something keeps removing {folder.parent}")


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that holds something already, or one that cannot be made or written.

    Raises:
        OptionError: The folder cannot become a run's folder.
    """
    check_writable(folder, folder=True)
    if not folder.is_dir():
        return
    found = sorted(os.listdir(folder))
    if CLAIM in found:
        raise OptionError(
            f"{folder} is taken: another run is writing into it, or was killed in it; choose "
            "another folder, or remove that one"
        )
    if found:
        raise OptionError(f"{folder} is not empty; a run needs a new or an empty folder")


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes; without a path it writes nothing.

    Args:
        path: The folder, as it was asked for.
        place: The same, in full: a renderer may change the working directory.
    """

    path: Path | None
    place: Path | None = None

    @classmethod
    @contextmanager
    def claimed(cls, path: Path | None) -> Generator[RunFolder]:
        """Keep a folder for this run alone; if nothing is written, it is as before in the end.

        Raises:
            OptionError: It holds something already, or another run has it.
        """
        if path is None:
            yield cls(None)
            return
        check_run_folder(path)
        place = path.absolute()
        made = _missing_folders(place)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / CLAIM).touch(exist_ok=False)
        except OSError as error:
            raise OptionError(f"{path} cannot become a run's folder: {error.strerror}") from error
        try:
            # Somebody may have written between the look and the claim.
            if others := [name for name in os.listdir(path) if name != CLAIM]:
                raise OptionError(
                    f"{path} is not empty: {others[0]!r} appeared in it; choose another folder"
                )
            yield cls(path, place)
        finally:
            (place / CLAIM).unlink(missing_ok=True)
            with suppress(OSError):  # they hold something: then they stay
                for folder in made:
                    folder.rmdir()

    def write(self, name: str, save: Callable[[Path], None]) -> Path | None:
        """Let ``save`` write the file ``name``, and return its path.

        Raises:
            RenderError: It cannot be written.
        """
        if self.path is None or self.place is None:
            return None
        file = self.path / name
        try:
            save(self.place / name)
        except OSError as error:
            raise RenderError(
                f"{file} cannot be written: {error.strerror or error}; make room, or choose "
                "another folder with --out"
            ) from error
        except InputError as error:  # what a person wrote is right: it is the place that fails
            raise RenderError(str(error)) from error
        return file


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance in a PNG that a run has written.

    Raises:
        OptionError: The picture has none.
    """
    with Image.open(path) as image:
        text = image.info.get(PROVENANCE)
    if not isinstance(text, str):
        raise OptionError(f"{path} has no ThreeDIS provenance; it was not written by a run")
    return json.loads(text)


def _missing_folders(path: Path) -> list[Path]:
    """``path`` and the folders above it that are not there, the innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]
