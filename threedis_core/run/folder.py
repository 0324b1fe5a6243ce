"""The folder of a run: one run at a time in it, and a killed one leaves no half file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

from threedis_core.errors import InputError, OptionError, RenderError, retold
from threedis_core.files.atomic import check_writable
from threedis_core.files.printable import printable
from threedis_core.files.together import PART, Together

RUNS = Path("runs")
SLUG_LENGTH = 40
DEFAULT_NAME = re.compile(r"\d{8}-\d{6}-")
TIMESTAMP = len("20250102-030405-")
RUN_JSON = "run.json"
CLAIM = ".threedis-run"
"""A file that is in a run's folder, and locked, while the run is at work."""
BATCH = ".threedis-batch"
"""A folder in it for pictures that are complete and about to appear under their names."""
PROVENANCE = "threedis"
"""The keyword of the text in a PNG that holds a picture's provenance as JSON."""
ANOTHER = "choose another folder with --out"
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
    name = f"{now:%Y%m%d-%H%M%S}-{run_slug(prompt)}"
    if RUNS.is_file():
        raise OptionError(f"{RUNS} is a file; expected a folder: name one with --out")
    folder = next(filter(_made, _numbered(RUNS / name)))
    try:
        yield folder
    finally:
        with suppress(OSError):  # they hold something: then they stay
            folder.rmdir()
            RUNS.rmdir()


def run_slug(prompt: str) -> str:
    """What a default folder's name tells of a prompt."""
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    return slug or "layout"


def newest_runs(runs: Path, slug: str) -> list[Path]:
    """The default folders of one slug, the newest first."""
    try:
        named = [path for path in runs.iterdir() if DEFAULT_NAME.match(path.name)]
    except OSError:
        return []
    of_slug = [path for path in named if path.name[TIMESTAMP:].startswith(slug)]
    return sorted((path for path in of_slug if path.is_dir()), reverse=True)


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
    """Refuse a folder that holds something else than a run, or one that cannot be made or written.

    Raises:
        OptionError: The folder cannot become a run's folder.
    """
    check_writable(folder, folder=True)
    if not folder.is_dir():
        return
    found = sorted(os.listdir(folder))
    if CLAIM in found and is_claimed(folder):
        raise _at_work(folder)
    _check_content(folder, found)


def _check_content(folder: Path, found: Sequence[str]) -> None:
    others = [name for name in found if not _is_left_over(name)]
    if RUN_JSON in others:
        return
    if runs := runs_among(folder, others):
        raise folder_taken(folder, f"holds several runs ({runs})", ANOTHER)
    if others:
        raise not_empty(folder)


def runs_among(folder: Path, names: Sequence[str]) -> str:
    """Which of ``names`` are folders of runs in ``folder``: the first ones; "" if none is."""
    runs = [printable(name) for name in names if (folder / name / RUN_JSON).exists()]
    return ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")


def not_empty(folder: Path) -> OptionError:
    """The error for a folder that holds something else than a run."""
    return folder_taken(folder, "is not empty", "choose a new or an empty folder with --out")


def folder_taken(folder: Path, why: str, hint: str) -> OptionError:
    """The error for a folder that cannot become a run's, for what is in it."""
    line = f"{printable(folder)} {why}; {hint}"
    return OptionError(line, code="folder-taken", file=folder, path="out", hint=hint)


def _at_work(folder: Path) -> OptionError:
    return folder_taken(folder, "is taken: another run is writing into it", "choose another one")


def _is_left_over(name: str) -> bool:
    """Whether a file may be what is left of a run that was killed before its first picture."""
    return name in (CLAIM, BATCH, BATCH + PART) or (name.startswith(".") and name.endswith(PART))


def is_claimed(folder: Path) -> bool:
    """Whether a run is at work in a folder that has a claim."""
    lock = FileLock(folder / CLAIM)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the claim itself will say it
        return False
    lock.release()
    return False


class RunFolder:
    """Where a run writes; without a path it writes nothing.

    What is written together appears together: a run that is killed, even by the system, leaves all
    of it or none.

    Args:
        path: The folder, as it was asked for.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        # In full: a renderer may change the working directory.
        self._place = None if path is None else path.absolute()
        self._written: list[Path] = []
        self._kept = False

    @classmethod
    @contextmanager
    def claimed(cls, path: Path | None) -> Generator[RunFolder]:
        """Keep a folder for this run alone; if no picture is written, it is as before in the end.

        Raises:
            OptionError: It holds something else than a run, or another run has it.
        """
        folder = cls(path)
        if path is None or folder._place is None:
            yield folder
            return
        check_run_folder(path)
        place = folder._place
        made = _missing_folders(place)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place / CLAIM)
            lock.acquire(timeout=0)
        except Timeout:
            raise _at_work(path) from None
        except OSError as error:
            raise OptionError(
                f"{printable(path)} cannot become a run's folder: {error.strerror}",
                code="file-not-written",
                file=path,
                path="out",
            ) from error
        try:
            _check_content(path, sorted(os.listdir(path)))  # somebody may have written meanwhile
            folder._tidy()
            yield folder
        finally:
            folder._tidy()
            folder._forget()
            (place / CLAIM).unlink(missing_ok=True)
            lock.release()
            with suppress(OSError):  # they hold something: then they stay
                for one in made:
                    one.rmdir()

    def write(self, name: str, save: Callable[[Path], None]) -> Path | None:
        """Let ``save`` write the file ``name``, and return its path.

        Raises:
            RenderError: It cannot be written.
        """
        if self.path is None or self._place is None:
            return None
        self._save(self._place / name, name, save)
        return self.path / name

    def write_together(self, files: Mapping[str, Callable[[Path], None]]) -> None:
        """Let each of ``files`` be written under its name: all of them, or none.

        From then on the folder stays, whatever becomes of the run.

        Raises:
            RenderError: One cannot be written; then none is.
        """
        if self._place is None:
            return
        together = Together(self._place / BATCH)
        with together.written() as unfinished:
            for name, save in files.items():
                self._save(unfinished / name, name, save)
        self._kept = True
        together.move_out()

    def keep(self) -> None:
        """Let the folder stay, whatever becomes of the run."""
        self._kept = True

    def _save(self, place: Path, name: str, save: Callable[[Path], None]) -> None:
        file = name if self.path is None else self.path / name
        new = not place.exists()
        with told_as_not_written(file):
            save(place)
        if new:
            self._written.append(place)

    def _tidy(self) -> None:
        """Finish what was begun together and is complete, and remove what is not."""
        if self._place is None:
            return
        together = Together(self._place / BATCH)
        together.move_out()
        together.sweep()
        for half in self._place.glob(f".*{PART}"):
            half.unlink(missing_ok=True)

    def _forget(self) -> None:
        """Remove what was written if no picture was."""
        if not self._kept:
            for file in self._written:
                file.unlink(missing_ok=True)


@contextmanager
def told_as_not_written(file: str | Path) -> Generator[None]:
    """Tell a failure to write ``file`` of a run in the block, whichever way it is written.

    Raises:
        RenderError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise _not_written(file, error) from error
    except InputError as error:  # it is the place that fails, no input
        if isinstance(error.__cause__, OSError):
            raise _not_written(file, error.__cause__) from error
        raise retold(error, RenderError, str(error), file=file) from error


def _not_written(file: str | Path, cause: OSError) -> RenderError:
    hint = "make room, or choose another folder with --out"
    return RenderError(
        f"{printable(file)} cannot be written: {cause.strerror or cause}; {hint}",
        code="file-not-written",
        file=file,
        hint=hint,
    )


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
