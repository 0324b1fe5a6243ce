from __future__ import annotations

import io
import sys
import time

from threedis_core.cli.progress import progress_bars
from threedis_core.plugin.progress import silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_show_stage_and_step_on_a_terminal(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bars() as progress:
        for batch in range(2):
            for step in range(3):
                progress("sd15: render", step + 1, 3)
            progress("depth", batch + 1, 2)
    text = terminal.getvalue()
    assert "sd15: render" in text
    assert "3 of 3" in text
    assert "2 of 2" in text
    last = text.rsplit("\x1b[1A", 1)[1]
    assert last.count("sd15: render") == 1, "the next batch has the same bar"


def test_a_stage_of_unknown_length_has_a_bar_without_numbers(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars() as progress:
        progress("preparing", 0, 0)
        time.sleep(0.3)
        assert "preparing" in terminal.getvalue()
        assert " of " not in terminal.getvalue()
        progress("preparing", 1, 1)
    assert "1 of 1" in terminal.getvalue()


def test_a_stage_is_shown_as_it_is_written_and_not_obeyed(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with progress_bars() as progress:
        progress("[red]x\x1b]0;title\x07" + "y" * 1000, 1, 1)
    text = terminal.getvalue()
    assert "[red]x\\x1b]0;title\\x07yyy" in text
    assert "\x1b]0;" not in text
    assert "y" * 100 not in text


def test_nothing_is_shown_off_a_terminal(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bars() as progress:
        assert progress is silent
    assert stream.getvalue() == ""
