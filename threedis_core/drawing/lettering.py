"""Text in pictures: a font that has the letters, and lines that fit a width."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows Latin letters only. These are looked for, by file name, when a text has
# others: they come with the common desktop systems.
SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "arial.ttf",
)
NO_CHARACTER = "\uffff"
ELLIPSIS = "…"


class Lettering:
    """Fonts of one size, in pixels, made when they are first needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._blanks: dict[Font, tuple[tuple[int, int], bytes]] = {}
        self._known: dict[tuple[Font, str], bool] = {}

    @cached_property
    def plain(self) -> Font:
        """Pillow's built-in font."""
        return ImageFont.load_default(self.size)

    @cached_property
    def others(self) -> tuple[Font, ...]:
        """The fonts of ``SYSTEM_FONTS`` that this machine has."""
        return tuple(self._system_fonts())

    def _system_fonts(self) -> Iterator[Font]:
        for name in SYSTEM_FONTS:
            try:
                yield ImageFont.truetype(name, self.size)
            except OSError:
                continue  # not on this machine, which is no fault

    def readable(self, text: str, otherwise: str) -> tuple[str, Font]:
        """The text on one line without letters no font has, and the font that has most of them.

        Args:
            text: Any text.
            otherwise: What to write if less than half of the letters can be drawn.
        """
        words = " ".join(text.split())
        drawn = {self.plain: self._drawable(words, self.plain)}
        for font in self.others if drawn[self.plain] != words else ():
            drawn[font] = self._drawable(words, font)
            if drawn[font] == words:
                break
        font = max(drawn, key=lambda font: len(drawn[font]))
        kept = " ".join(drawn[font].split())
        return (kept, font) if 2 * len(kept) >= len(words) else (otherwise, self.plain)

    def _drawable(self, text: str, font: Font) -> str:
        return "".join(letter for letter in text if self._has(font, letter))

    def _has(self, font: Font, letter: str) -> bool:
        """Whether a font can draw a letter; each letter is drawn only once to find out."""
        if (font, letter) not in self._known:
            drawn = letter.isspace() or _shape(letter, font) != self._missing(font)
            self._known[font, letter] = drawn
        return self._known[font, letter]

    def _missing(self, font: Font) -> tuple[tuple[int, int], bytes]:
        """What a font draws instead of a letter that it does not have."""
        if font not in self._blanks:
            self._blanks[font] = _shape(NO_CHARACTER, font)
        return self._blanks[font]


def wrap(text: str, font: Font, width: float, max_lines: int) -> tuple[str, ...]:
    """Break a text into lines of at most ``width`` pixels, and end it with "…" if it is longer.

    Returns:
        1 to ``max_lines`` lines; none if not even one letter fits.
    """
    lines: list[str] = []
    rest = text
    while rest and len(lines) < max_lines:
        count = _fitting(rest, font, width)
        if count == 0:
            return ()
        if count < len(rest) and len(lines) < max_lines - 1:
            space = rest.rfind(" ", 0, count + 1)
            count = space if space > 0 else count
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    if rest:
        last = lines[-1]
        while last and font.getlength(last + ELLIPSIS) > width:
            last = last[:-1].rstrip()
        lines[-1] = last + ELLIPSIS
    return tuple(lines)


def _fitting(text: str, font: Font, width: float) -> int:
    """How many of the first letters fit, found by halving."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _shape(letter: str, font: Font) -> tuple[tuple[int, int], bytes]:
    mask: Any = font.getmask(letter)
    return mask.size, bytes(mask)
