"""Blocks of text on a sheet: lines that fit a width, and chips that name colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from threedis_core.drawing.lettering import Font, Lettering, wrap
from threedis_core.drawing.page import INK, UNREADABLE, WHITE
from threedis_core.values.palette import Color, plate_color

MOST_LETTERS = 2000
LEADING = 1.35
"""Height of a line in heights of its letters."""
CHIP_SIZE, CHIP_GAP, CHIP_LINE, CHIP_SPACE = 14, 22, 26, 7
MARKED, MARK_SIZE = 20, 13
"""Pixels: how wide a patch is at least that something is written in, and how large that is."""


@dataclass(frozen=True)
class TextBlock:
    """Lines of text of one size and colour.

    Args:
        lines: What they say.
        font: In what letters.
        size: Their height in pixels.
        color: Their colour.
    """

    lines: tuple[str, ...]
    font: Font
    size: int
    color: Color

    @property
    def height(self) -> int:
        """Of all lines together, in pixels."""
        return round(len(self.lines) * self.size * LEADING)

    def draw(self, pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
        """Write the lines, from the upper left ``corner`` on."""
        for number, line in enumerate(self.lines):
            middle = corner[1] + round((number + 0.5) * self.size * LEADING)
            pen.text((corner[0], middle), line, self.color, self.font, "lm")


def text_block(text: str, width: int, size: int, color: Color, most_lines: int) -> TextBlock:
    """Break a text into lines, in a font that has its letters.

    Args:
        text: Any text; none gives a block without lines.
        width: The widest line in pixels.
        size: Height of the letters in pixels.
        color: RGB.
        most_lines: What is longer ends with "…".
    """
    if not text.strip():
        return TextBlock((), Lettering(size).plain, size, color)
    words, font = Lettering(size).readable(text[:MOST_LETTERS], otherwise=UNREADABLE)
    return TextBlock(wrap(words, font, width, most_lines), font, size, color)


@dataclass(frozen=True)
class Chips:
    """What each colour stands for, one after the other in lines: a patch, and words beside it.

    ``placed`` are the patch's corner (x, y) relative to the block, its colour, what is written in
    it, if anything, and its words. All patches are ``patch`` pixels wide.
    """

    placed: tuple[tuple[int, int, Color, str, TextBlock], ...]
    patch: int

    @property
    def height(self) -> int:
        """Of all lines together, in pixels."""
        return max((y + CHIP_LINE for _, y, *_ in self.placed), default=0)

    def draw(self, pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
        """Draw them, from the upper left ``corner`` on."""
        font = Lettering(MARK_SIZE).plain
        for x, y, color, mark, words in self.placed:
            left, top = corner[0] + x, corner[1] + y + (CHIP_LINE - CHIP_SIZE) // 2
            rim = 2 if mark else 0
            patch = (left, top - rim, left + self.patch, top + CHIP_SIZE + rim)
            pen.rounded_rectangle(patch, radius=3, fill=plate_color(color) if mark else color)
            pen.text((left + self.patch / 2, top + CHIP_SIZE / 2), mark, WHITE, font, "mm")
            words.draw(pen, (left + self.patch + CHIP_SPACE, top - 3))


def chips(named: Sequence[tuple[Color, str]], width: int, marks: Sequence[str] = ()) -> Chips:
    """Place chips in as many lines of ``width`` pixels as they need.

    Args:
        named: Each one's colour and words.
        width: The widest line.
        marks: What is written in the patches, which then look as labels in drawings do.
    """
    placed: list[tuple[int, int, Color, str, TextBlock]] = []
    widest = max(map(Lettering(MARK_SIZE).plain.getlength, marks), default=0)
    patch = max(MARKED, 9 + round(widest)) if marks else CHIP_SIZE
    x = y = 0
    for place, (color, name) in enumerate(named):
        mark = marks[place] if place < len(marks) else ""
        words = text_block(name, width - patch - CHIP_SPACE, 15, INK, 1)
        own = patch + CHIP_SPACE + round(max(map(words.font.getlength, words.lines), default=0))
        if x and x + own > width:
            x, y = 0, y + CHIP_LINE
        placed.append((x, y, color, mark, words))
        x += own + CHIP_GAP
    return Chips(tuple(placed), patch)
