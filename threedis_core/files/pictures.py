"""Open picture files that a person names, with every way it can fail as one clear line."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from threedis_core.alone import warnings_ignored
from threedis_core.errors import InputError
from threedis_core.files.limits import MAX_PIXELS, MAX_SIDE, check_size
from threedis_core.files.printable import printable

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}


def open_picture(
    path: str | Path,
    error: type[InputError],
    purpose: str,
    formats: tuple[str, ...] = PICTURE_FORMATS,
) -> Image.Image:
    """Open and decode a picture after checking its header.

    Args:
        path: The file.
        error: The error class to raise.
        purpose: What the picture is for, with its article: "a mask".
        formats: Pillow names of the formats that are read.
    Raises:
        InputError: As ``error``: missing, not such a picture, named as another format, more than
            16384 pixels a side or 2**26 pixels in all (not decoded then), or damaged.
    """
    path, name = Path(path), printable(path)
    check_file(path, error)
    try:
        # Our own limit below is lower than the one that Pillow warns at. What it has to say
        # about a picture's notes (EXIF) matters to nobody who reads its pixels.
        with warnings_ignored(Image.DecompressionBombWarning, UserWarning):
            picture = Image.open(path, formats=formats)
    except UnidentifiedImageError:
        raise error(
            f"{name}: not a picture that can be read; expected {purpose} as {' or '.join(formats)}",
            code="file-unreadable",
            file=path,
        ) from None
    except Image.DecompressionBombError as reason:
        raise error(
            f"{name}: {_found(reason)}; expected at most {MAX_SIDE} pixels a side and {MAX_PIXELS} "
            "in all; make it smaller",
            code="file-too-large",
            file=path,
        ) from None
    except Exception as reason:  # Pillow's readers raise almost anything on a damaged header
        raise _damaged(path, error, reason) from reason
    with picture:
        _check_header(picture, path, error)
        try:
            picture.load()
        except Exception as reason:  # and on damaged pixels
            raise _damaged(path, error, reason) from reason
        return picture


def upright(picture: Image.Image) -> Image.Image:
    """The picture as the camera was held; as it is where its notes (EXIF) cannot be read."""
    with warnings_ignored(UserWarning):
        try:
            return ImageOps.exif_transpose(picture)
        except Exception:  # Pillow's reader raises almost anything, SyntaxError too
            return picture


def is_transparent(picture: Image.Image) -> bool:
    """True if any pixel of a decoded picture lets a background through."""
    if not picture.has_transparency_data:
        return False
    return picture.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def check_file(path: Path, error: type[InputError]) -> int:
    """Return the size in bytes of the regular file ``path``.

    Raises:
        InputError: As ``error``: missing, no regular file, not accessible, or empty.
    """
    name = printable(path)
    try:
        if not path.exists():
            raise error(
                f"{name}: no such file; check the path",
                code="file-not-found",
                file=path,
                hint="check the path",
            )
        # A named pipe or a device could be read forever.
        if not path.is_file():
            found = "a folder, not a file" if path.is_dir() else "not a file"
            raise error(
                f"{name}: {found}; expected a regular file", code="file-unreadable", file=path
            )
        size = path.stat().st_size
    except (OSError, ValueError) as reason:
        if isinstance(reason, error):
            raise
        problem = getattr(reason, "strerror", None) or _first_line(reason)
        raise error(
            f"{name}: cannot be read: {problem}", code="file-unreadable", file=path
        ) from reason
    if size == 0:
        raise error(f"{name}: the file is empty", code="file-unreadable", file=path)
    return size


def _check_header(picture: Image.Image, path: Path, error: type[InputError]) -> None:
    check_size(*picture.size, error, f"{printable(path)}:", path)
    named = SUFFIXES.get(path.suffix.lower())
    # Phones and stereo cameras write several JPEGs into one file; the first is the picture.
    found = "JPEG" if picture.format == "MPO" else picture.format
    if named is not None and named != found:
        raise error(
            f"{printable(path)}: its content is {found}, its name says {named}; rename the file",
            code="file-unreadable",
            file=path,
            hint="rename the file",
        )


def _damaged(path: Path, error: type[InputError], reason: Exception) -> InputError:
    return error(
        f"{printable(path)}: damaged picture: {_first_line(reason)}",
        code="file-unreadable",
        file=path,
    )


def _found(reason: Image.DecompressionBombError) -> str:
    """What Pillow found; it opens no picture of that size, but counts its pixels."""
    count = re.search(r"\d+ pixels", str(reason))
    return count[0] if count else _first_line(reason)


def _first_line(reason: Exception) -> str:
    return printable((str(reason).splitlines() or [type(reason).__name__])[0], 200)
