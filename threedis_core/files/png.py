"""Write pictures as PNG files, complete or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically


def check_png(path: Path, option: str) -> None:
    """Refuse a place that no PNG can be written to, before the work whose result belongs there.

    Args:
        path: Where it will be written.
        option: The command's option that names it, for the message.
    Raises:
        OptionError: Another suffix, or a place that cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise OptionError(
            f"{option} {path}: expected a name that ends in .png; a PNG is written",
            code="file-not-written",
            file=path,
            hint="name the file *.png",
        )
    check_writable(path)


def write_png(path: Path, image: Image.Image, texts: Mapping[str, str] | None = None) -> None:
    """Write a PNG and, if it is not there, its folder.

    Args:
        path: A name that ends in .png.
        image: The picture.
        texts: Texts to store in the file, by keyword (1 to 79 Latin-1 letters).
    Raises:
        OSError: The file cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png_bytes(image, texts))


def png_bytes(image: Image.Image, texts: Mapping[str, str] | None = None) -> bytes:
    """A picture as the content of a PNG file; ``texts`` as for ``write_png``."""
    stored = PngInfo()
    for keyword, text in (texts or {}).items():
        stored.add_itxt(keyword, text)
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=stored)
    return file.getvalue()
