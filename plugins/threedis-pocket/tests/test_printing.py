"""What the commands of this plugin print."""

from __future__ import annotations

from pathlib import Path

import pytest

from threedis_core.cli import main


def test_a_file_name_that_would_act_on_a_terminal_is_printed_as_an_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["bench", "regions", "--layouts", "1", "--refiner", "boxes"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--picture", "a\x1b[31mb.png"])
    told = capsys.readouterr()
    assert (ended.value.code, told.err) == (0, "")
    assert told.out.splitlines()[-1] == "a\\x1b[31mb.png"
