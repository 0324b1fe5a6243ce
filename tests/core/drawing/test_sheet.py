"""Sheets of pictures: sizes, texts of every kind, and many pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from threedis_core.drawing.page import ALARM, PAPER, shown, shown_size
from threedis_core.drawing.sheet import CELL, GAP, MARGIN, MOST_WIDTH, Panel, Sheet
from threedis_core.values.palette import plate_color

RED = Image.new("RGB", (128, 128), (200, 0, 0))


def has_colour(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == colour).all(axis=2).any())


@pytest.mark.parametrize(
    ("size", "larger"),
    [
        ((128, 128), (384, 384)),
        ((192, 128), (384, 256)),
        ((160, 128), (384, 307)),
        ((256, 160), (384, 240)),
        ((384, 100), (384, 100)),
        ((1, 3), (128, 384)),
        ((1024, 768), (384, 288)),
        ((16384, 1), (384, 1)),
    ],
)
def test_pictures_of_any_size_are_shown_as_large_as_a_cell(size, larger) -> None:
    assert shown_size(size, 384) == larger


def test_a_picture_is_shown_as_it_is_where_it_fits() -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB")
    assert shown(picture, (8, 8)).tobytes() == picture.tobytes()
    assert shown(picture.convert("L"), (16, 16)).mode == "RGB"


def test_rows_and_columns_stand_apart_from_each_other() -> None:
    rows = [[Panel(RED, "a"), Panel(RED, "b"), Panel(RED, "c")], [Panel(), Panel(RED, "d")]]
    drawn = Sheet("a title", rows).draw()
    assert drawn.width == 3 * CELL + 2 * GAP + 2 * MARGIN
    red = (np.asarray(drawn) == (200, 0, 0)).all(axis=2)
    columns = np.flatnonzero(red.any(axis=0))
    assert len(columns) == 3 * CELL
    assert red.sum() == 4 * CELL**2
    assert not red[red.shape[0] // 2 :, : MARGIN + CELL].any(), "an empty place stays empty"


def test_warnings_are_told_apart_and_only_where_there_are_any() -> None:
    rows = [[Panel(RED, "a")]]
    quiet, loud = Sheet("t", rows).draw(), Sheet("t", rows, warnings=["the depth is flat"]).draw()
    assert loud.height > quiet.height
    assert has_colour(loud, ALARM)
    assert not has_colour(quiet, ALARM)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 10_000,
        "word " * 2000,
        "赤い立方体",
        "مكعب أحمر",
        "🐱🐱",
        "a\nb\tc",
        "a\x00b",
        "  ",
    ],
)
def test_any_text_is_drawn_in_any_place(text: str) -> None:
    panels = [[Panel(RED, text, text)]]
    drawn = Sheet(text, panels, text, [((1, 2, 3), text)] * 9, [text] * 9).draw()
    assert drawn.width < 2000
    assert drawn.height < 4000


def test_names_are_numbered_where_the_pictures_are() -> None:
    names = [((200, 100, 50), f"thing {n}") for n in range(50)]
    plain = Sheet("t", [[Panel(RED, "a")]], "", names).draw()
    numbered = Sheet("t", [[Panel(RED, "a")]], "", names, numbered=True).draw()
    assert has_colour(plain, (200, 100, 50))
    assert not has_colour(numbered, (200, 100, 50))
    assert has_colour(numbered, plate_color((200, 100, 50)))
    assert has_colour(numbered, (255, 255, 255))


def test_hundreds_of_pictures_names_and_warnings_make_no_endless_sheet() -> None:
    names = [((0, 0, 0), f"thing {n}") for n in range(1000)]
    warnings = [f"warning {n}" for n in range(1000)]
    drawn = Sheet("t", [[Panel(RED, "a")] * 50], "", names, warnings).draw()
    assert drawn.width <= MOST_WIDTH
    assert drawn.height < 3000


def test_a_sheet_without_pictures_is_drawn_too() -> None:
    assert Sheet("t", []).draw().getpixel((0, 0)) == PAPER
