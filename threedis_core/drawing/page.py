"""The looks of a sheet of pictures: its colours, its letters, and how large a picture is shown."""

from __future__ import annotations

from PIL import Image, ImageDraw

from threedis_core.drawing.lettering import Font, Lettering
from threedis_core.values.palette import Color

PAPER: Color = (250, 249, 246)
WHITE: Color = (255, 255, 255)
INK: Color = (32, 34, 38)
QUIET: Color = (98, 102, 110)
FRAME: Color = (222, 220, 214)
ALARM: Color = (176, 84, 16)
UNREADABLE = "(in letters that no font here has)"
SMALLEST_LETTERS = 9


def shown_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """How large a picture of ``size`` (width, height) is shown in a cell of ``side`` pixels.

    Its longer side is the cell's, so that pictures of one shape stand beside each other alike.
    """
    longer = max(size)
    return max(1, round(size[0] * side / longer)), max(1, round(size[1] * side / longer))


def shown(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture at the ``size`` that it is shown at, in RGB."""
    picture = picture.convert("RGB")
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def put_framed(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    """Paste a picture at its upper left ``corner``, with a thin frame around it."""
    sheet.paste(picture, corner)
    x, y = corner
    outline = (x - 1, y - 1, x + picture.width, y + picture.height)
    ImageDraw.Draw(sheet).rectangle(outline, outline=FRAME)


def fitting_font(text: str, width: float, size: int) -> Font:
    """The largest plain font of at most ``size`` pixels that keeps ``text`` within ``width``."""
    for smaller in range(size, SMALLEST_LETTERS, -1):
        font = Lettering(smaller).plain
        if font.getlength(text) <= width:
            return font
    return Lettering(SMALLEST_LETTERS).plain
