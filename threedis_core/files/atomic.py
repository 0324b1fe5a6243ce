"""Write files so that a killed process leaves no half file, and nothing special is replaced."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from pathlib import Path

from threedis_core.errors import OptionError
from threedis_core.files.printable import printable

SPECIAL = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
}
"""What is neither a file nor takes bytes one after another."""


def write_atomically(path: str | Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to a temporary name next to ``path``, then rename it to ``path``.

    A link stays, and the file that it leads to is written. Into a device, a pipe or an open file
    (``/dev/null``, ``/dev/stdout``) the bytes go as they are, since it cannot be replaced.

    Args:
        path: The file.
        data: Its content.
        durable: Wait until the disk has it; without, a machine that loses its power may lose it.
    Raises:
        OSError: The folder is missing or cannot be written, the disk is full, or ``path`` is a
            folder, a socket or a block device; it names ``path``, and nothing is left behind.
    """
    try:
        if _takes_bytes(path):
            _write_into(path, data)
        else:
            _replace(Path(os.path.realpath(path)), data, durable)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, reason, os.fspath(path)) from error


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Refuse a place that cannot be written, before the work whose result belongs there.

    Makes nothing; folders that are missing on the way count as ones that can be made, but not
    where a link leads.

    Args:
        path: Where a file will be written.
        folder: ``path`` is a folder that will be made, or is there and will be written into.
    Raises:
        OptionError: The path is of the other kind, a socket, a block device, or a link to nothing
            that can be made; or the nearest folder that is there is none, or may not be written.
    """
    path = Path(path)
    if _exists(path):
        _check_kind(path, folder)
        if _takes_bytes(path):
            _check_permission(path, path, os.W_OK)
            return
    elif path.is_symlink():
        target = Path(os.path.realpath(path))
        if folder or not target.parent.is_dir():
            raise OptionError(
                f"{printable(path)} cannot be written: it is a link to {printable(target)}, which "
                "is not there; remove the link or make what it leads to",
                code="file-not-written",
                file=path,
                hint="remove the link or make what it leads to",
            )
    place = path if folder else Path(os.path.realpath(path)).parent
    while not _exists(place):
        place = place.parent
    if not place.is_dir():
        raise OptionError(
            f"{printable(path)} cannot be written: {printable(place)} is no folder; "
            "choose another place",
            code="file-not-written",
            file=path,
            hint="choose another place",
        )
    _check_permission(path, place, os.W_OK | os.X_OK)


def _check_kind(path: Path, folder: bool) -> None:
    kind = "folder" if folder else "file"
    special = SPECIAL.get(stat.S_IFMT(path.stat().st_mode))
    if special is None and path.is_dir() != folder:
        special = "a file" if folder else "a folder"
    if special is not None:
        raise OptionError(
            f"{printable(path)} is {special}; expected a {kind} to write, choose another name",
            code="file-not-written",
            file=path,
            hint="choose another name",
        )


def _check_permission(path: Path, place: Path, needed: int) -> None:
    if not os.access(place, needed):
        raise OptionError(
            f"{printable(path)} cannot be written: no permission to write in {printable(place)}; "
            "choose another place",
            code="file-not-written",
            file=path,
            hint="choose another place",
        )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"{printable(path)} cannot be written: {reason}", code="file-not-written", file=path
        ) from error
    return True


def _takes_bytes(path: str | Path) -> bool:
    """True for what is there and must be written into: a device, a pipe, a file that is open."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or _descriptor(path) is not None


def _descriptor(path: str | Path) -> int | None:
    """The open file of this process that ``path`` leads to, as ``/dev/stdout`` does; else None.

    Whoever opened it goes on with that very file, not with whichever bears its name later.
    """
    step = os.path.abspath(path)
    while True:
        folder, name = os.path.split(step)
        if os.path.realpath(folder) == f"/proc/{os.getpid()}/fd" and name.isdecimal():
            return int(name)
        if not os.path.islink(step):
            return None
        step = os.path.join(folder, os.readlink(step))


def _write_into(path: str | Path, data: bytes) -> None:
    number = _descriptor(path)
    if number is None:
        # Without O_NONBLOCK, opening a named pipe that nobody reads would wait for ever.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(descriptor, True)
    else:
        descriptor = os.dup(number)
    with open(descriptor, "wb") as file:
        file.write(data)


def _replace(path: Path, data: bytes, durable: bool) -> None:
    if path.exists() and (special := SPECIAL.get(stat.S_IFMT(path.stat().st_mode))):
        raise OSError(errno.EINVAL, f"it is {special}")
    # A name may have 255 bytes, and a letter up to four.
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
