"""Any text in one line that a terminal may show."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threedis_core.files.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red cube", "a red cube"),
        ("ein Würfel, 立方体 🎲", "ein Würfel, 立方体 🎲"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("\ud800 and \udcff", r"\ud800 and \udcff"),
        ("\x9b\x7f\0", r"\x9b\x7f\x00"),
        (r"C:\names", r"C:\names"),
    ],
)
def test_what_does_not_print_is_written_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_loses_its_middle() -> None:
    assert printable("a" * 500 + "." + "b" * 500, 23) == "a" * 10 + "..." + "b" * 10
    assert printable("x" * 300) == "x" * 300
    assert printable(Path("folder", "x" * 400, "file.png")).endswith("x/file.png")


@given(st.text(st.characters(), max_size=80), st.integers(20, 60))
def test_any_text_becomes_one_short_line_that_utf_8_can_write(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert line.isprintable()
    assert len(line.encode()) <= 4 * limit
    assert len(line) <= limit
