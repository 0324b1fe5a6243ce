"""Blocks of text on a sheet: lines that fit a width, and chips that name colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from threedis_core.drawing.lettering import Font, Lettering, wrap
from threedis_core.drawing.page import INK, UNREADABLE
from threedis_core.values.palette import Color

MOST_LETTERS = 2000
LEADING = 1.35
"""Height of a line in heights of its letters."""
CHIP_SIZE, CHIP_GAP, CHIP_LINE = 14, 22, 26


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

    ``placed`` are the patch's corner (x, y) relative to the block, its colour and its words.
    """

    placed: tuple[tuple[int, int, Color, TextBlock], ...]

    @property
    def height(self) -> int:
        """Of all lines together, in pixels."""
        return max((y + CHIP_LINE for _, y, _, _ in self.placed), default=0)

    def draw(self, pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
        """Draw them, from the upper left ``corner`` on."""
        for x, y, color, words in self.placed:
            left, top = corner[0] + x, corner[1] + y + (CHIP_LINE - CHIP_SIZE) // 2
            patch = (left, top, left + CHIP_SIZE, top + CHIP_SIZE)
            pen.rounded_rectangle(patch, radius=3, fill=color)
            words.draw(pen, (left + CHIP_SIZE + 7, top - 3))


def chips(named: Sequence[tuple[Color, str]], width: int) -> Chips:
    """Place chips in as many lines of ``width`` pixels as they need."""
    placed: list[tuple[int, int, Color, TextBlock]] = []
    x = y = 0
    for color, name in named:
        words = text_block(name, width - CHIP_SIZE - 7, 15, INK, 1)
        own = CHIP_SIZE + 7 + round(max(map(words.font.getlength, words.lines), default=0))
        if x and x + own > width:
            x, y = 0, y + CHIP_LINE
        placed.append((x, y, color, words))
        x += own + CHIP_GAP
    return Chips(tuple(placed))
