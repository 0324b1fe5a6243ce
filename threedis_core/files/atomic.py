"""Write files so that a killed process leaves no half file behind."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from threedis_core.errors import OptionError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a temporary name next to ``path``, then rename it to ``path``.

    Raises:
        OSError: The folder is missing or cannot be written; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Refuse a place that cannot be written, before the work whose result belongs there.

    Makes nothing; folders that are missing on the way count as ones that can be made.

    Args:
        path: Where a file will be written.
        folder: ``path`` is a folder that will be made, or is there and will be written into.
    Raises:
        OptionError: The path is of the other kind, or the nearest folder that is there is none, or
            may not be written.
    """
    path = Path(path)
    kind = "folder" if folder else "file"
    if _exists(path) and path.is_dir() != folder:
        other = "file" if folder else "folder"
        raise OptionError(f"{path} is a {other}; expected a {kind} to write, choose another name")
    place = path if folder else path.parent
    while not _exists(place):
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{path} cannot be written: {place} is no folder; choose another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(
            f"{path} cannot be written: no permission to write in {place}; choose another place"
        )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"{str(path)!r:.200} cannot be written: {reason}") from error
    return True
