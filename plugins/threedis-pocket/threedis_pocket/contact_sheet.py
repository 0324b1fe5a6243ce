"""A contact sheet: pictures in rows and columns, with titles and a footer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CELL, GAP, MARGIN = 288, 12, 28
TITLE, FOOTER = 48, 56
PAPER, INK, QUIET, FRAME = (250, 249, 246), (32, 34, 38), (98, 102, 110), (222, 220, 214)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], footer: str
) -> Image.Image:
    """Put pictures of any size into square cells; one title a column, one line at the foot."""
    width = 2 * MARGIN + len(titles) * CELL + (len(titles) - 1) * GAP
    height = MARGIN + TITLE + len(rows) * (CELL + GAP) + FOOTER
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        middle = MARGIN + column * (CELL + GAP) + CELL // 2
        pen.text((middle, MARGIN + TITLE // 2 - 8), title, INK, ImageFont.load_default(20), "mm")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            corner = (MARGIN + column * (CELL + GAP), MARGIN + TITLE + row * (CELL + GAP))
            cell = picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)
            sheet.paste(cell, corner)
            edge = (corner[0] - 1, corner[1] - 1, corner[0] + CELL, corner[1] + CELL)
            pen.rectangle(edge, outline=FRAME)
    foot = (MARGIN, height - FOOTER // 2 - 4)
    pen.text(foot, footer, QUIET, _fitting(footer, width - 2 * MARGIN), "lm")
    return sheet


def _fitting(text: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font of at most 18 px that keeps the text within ``width``."""
    for size in range(18, 9, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            return font
    return ImageFont.load_default(9)
