"""A contact sheet: groups of rows of pictures, with titles and a footer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from threedis_core.drawing.page import INK, PAPER, QUIET, fitting_font, put_framed, shown

CELL, GAP, GROUP_GAP, MARGIN = 256, 10, 30, 28
GUTTER, TITLE, FOOTER = 34, 66, 52

Row = Sequence[Image.Image]


def contact_sheet(
    groups: Sequence[Sequence[Row]],
    titles: Sequence[tuple[str, str]],
    row_titles: Sequence[str],
    footer: str,
) -> Image.Image:
    """Put pictures of any size into square cells.

    Args:
        groups: Groups of rows of pictures; groups stand a little apart.
        titles: A title and a quiet second line for each column.
        row_titles: A title for each row of a group, written upwards at its left.
        footer: One line at the foot.
    """
    rows = len(row_titles)
    group_height = rows * CELL + (rows - 1) * GAP
    left, top = MARGIN + GUTTER, MARGIN + TITLE
    width = left + len(titles) * (CELL + GAP) - GAP + MARGIN
    height = top + len(groups) * (group_height + GROUP_GAP) - GROUP_GAP + FOOTER
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (title, under) in enumerate(titles):
        middle = left + column * (CELL + GAP) + CELL // 2
        pen.text((middle, MARGIN + 8), title, INK, fitting_font(title, CELL, 21), "mm")
        pen.text((middle, MARGIN + 36), under, QUIET, fitting_font(under, CELL, 16), "mm")
    for number, group in enumerate(groups):
        above = top + number * (group_height + GROUP_GAP)
        for row, pictures in enumerate(group):
            y = above + row * (CELL + GAP)
            _write_upwards(sheet, row_titles[row], (MARGIN, y))
            for column, picture in enumerate(pictures):
                corner = (left + column * (CELL + GAP), y)
                put_framed(sheet, shown(picture, (CELL, CELL)), corner)
    foot = (left, height - FOOTER // 2)
    pen.text(foot, footer, QUIET, fitting_font(footer, width - left - MARGIN, 18), "lm")
    return sheet


def _write_upwards(sheet: Image.Image, text: str, corner: tuple[int, int]) -> None:
    """Write ``text`` from bottom to top, centred beside a cell at ``corner``."""
    strip = Image.new("RGB", (CELL, GUTTER - 8), PAPER)
    middle = (CELL // 2, strip.height // 2)
    ImageDraw.Draw(strip).text(middle, text, QUIET, fitting_font(text, CELL, 18), "mm")
    sheet.paste(strip.rotate(90, expand=True), corner)
