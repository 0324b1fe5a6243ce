"""A sheet: rows of pictures with a caption each, under a title, and warnings at the foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from threedis_core.drawing.page import (
    ALARM,
    INK,
    PAPER,
    QUIET,
    put_framed,
    shown,
    shown_size,
)
from threedis_core.drawing.text import Chips, TextBlock, chips, text_block
from threedis_core.values.palette import Color

CELL, SMALLEST_CELL, MOST_WIDTH = 384, 96, 6144
MARGIN, GAP, ROW_GAP, BLOCK_GAP = 32, 18, 22, 14
TITLE, CAPTION, NOTE, WARNING = 26, 17, 14, 16  # heights of letters
LEAST_WIDTH = 800
MOST_WARNINGS, MOST_CHIPS = 24, 40


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with what is written under it.

    Args:
        picture: Of any size and mode; None leaves the place empty.
        caption: What it is.
        note: A quieter line below.
    """

    picture: Image.Image | None = None
    caption: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sheet:
    """What a sheet shows.

    Args:
        title: Its heading.
        note: A quieter line below the heading.
        rows: Rows of panels; panels of one place in their rows stand in one column.
        names: What each colour in the pictures stands for.
        numbered: The pictures have numbers for names: tell them with the colours.
        warnings: One line each, at the foot.
    """

    title: str
    rows: Sequence[Sequence[Panel]]
    note: str = ""
    names: Sequence[tuple[Color, str]] = ()
    warnings: Sequence[str] = ()
    numbered: bool = False

    def draw(self) -> Image.Image:
        """Draw the sheet; its cells shrink if there are many, down to 96 pixels."""
        columns = max((len(row) for row in self.rows), default=1)
        room = (MOST_WIDTH - 2 * MARGIN) // columns - GAP
        cell = max(SMALLEST_CELL, min(CELL, room))
        rows = [_Row.placed(row, cell) for row in self.rows]
        widths = [max(_widths(rows, column)) for column in range(columns)]
        width = max(LEAST_WIDTH, sum(widths) + (columns - 1) * GAP + 2 * MARGIN)
        inner = width - 2 * MARGIN
        head = [
            text_block(self.title, inner, TITLE, INK, 3),
            text_block(self.note, inner, NOTE + 1, QUIET, 3),
            self._chips(inner),
        ]
        foot = _warning_blocks(self.warnings, inner)
        height = _stacked_height(head) + sum(row.height + ROW_GAP for row in rows)
        height += _stacked_height(foot) + 2 * MARGIN - BLOCK_GAP
        picture = Image.new("RGB", (width, height), PAPER)
        pen, y = ImageDraw.Draw(picture), MARGIN
        for block in head:
            block.draw(pen, (MARGIN, y))
            y += block.height + (BLOCK_GAP if block.height else 0)
        for row in rows:
            row.draw(picture, (MARGIN, y), widths)
            y += row.height + ROW_GAP
        for block in foot:
            block.draw(pen, (MARGIN, y))
            y += block.height + BLOCK_GAP
        return picture

    def _chips(self, width: int) -> Chips:
        names, more = list(self.names[:MOST_CHIPS]), len(self.names) - MOST_CHIPS
        marks = [str(number) for number in range(len(names))] if self.numbered else []
        return chips(names + ([(QUIET, f"and {more} more")] if more > 0 else []), width, marks)


@dataclass(frozen=True, eq=False)
class _Cell:
    """A panel, as large as it is shown: ``size`` is (width, height) in pixels."""

    panel: Panel
    size: tuple[int, int]
    caption: TextBlock
    note: TextBlock


@dataclass(frozen=True, eq=False)
class _Row:
    """Cells beside each other, in line at the top."""

    cells: tuple[_Cell, ...]

    @classmethod
    def placed(cls, panels: Sequence[Panel], side: int) -> _Row:
        return cls(tuple(_cell(panel, side) for panel in panels))

    @property
    def height(self) -> int:
        below = [cell.caption.height + cell.note.height + 8 for cell in self.cells]
        heights = [cell.size[1] + more for cell, more in zip(self.cells, below, strict=True)]
        return max(heights, default=0)

    def draw(self, sheet: Image.Image, corner: tuple[int, int], widths: Sequence[int]) -> None:
        pen, x = ImageDraw.Draw(sheet), corner[0]
        for cell, width in zip(self.cells, widths, strict=False):
            if cell.panel.picture is not None:
                put_framed(sheet, shown(cell.panel.picture, cell.size), (x, corner[1]))
            y = corner[1] + cell.size[1] + 8
            cell.caption.draw(pen, (x, y))
            cell.note.draw(pen, (x, y + cell.caption.height))
            x += width + GAP


def _cell(panel: Panel, side: int) -> _Cell:
    size = (side, 0) if panel.picture is None else shown_size(panel.picture.size, side)
    width = max(size[0], side)
    return _Cell(
        panel,
        (width, size[1]) if panel.picture is None else size,
        text_block(panel.caption, width, CAPTION, INK, 2),
        text_block(panel.note, width, NOTE, QUIET, 3),
    )


def _widths(rows: Sequence[_Row], column: int) -> list[int]:
    cells = [row.cells[column] for row in rows if column < len(row.cells)]
    return [max(cell.size[0], _text_width(cell)) for cell in cells] or [0]


def _text_width(cell: _Cell) -> int:
    blocks = (cell.caption, cell.note)
    lengths = [block.font.getlength(line) for block in blocks for line in block.lines]
    return round(max(lengths, default=0))


def _warning_blocks(warnings: Sequence[str], width: int) -> list[TextBlock]:
    if not warnings:
        return []
    said = list(warnings[:MOST_WARNINGS])
    if len(warnings) > len(said):
        said.append(f"and {len(warnings) - len(said)} more")
    heading = "Warning" if len(warnings) == 1 else "Warnings"
    return [
        text_block(heading, width, CAPTION, ALARM, 1),
        *(text_block(line, width, WARNING, INK, 4) for line in said),
    ]


def _stacked_height(blocks: Sequence[TextBlock | object]) -> int:
    heights = [int(getattr(block, "height", 0)) for block in blocks]
    return sum(height + BLOCK_GAP for height in heights if height)
