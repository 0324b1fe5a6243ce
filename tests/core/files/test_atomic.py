"""Where files can be written, and that no half ones are left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"x")
    assert os.listdir(tmp_path) == ["taken"]


def test_places_that_can_be_written_pass_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    check_writable(tmp_path / "there.json")
    check_writable(tmp_path / "new.json")
    check_writable(tmp_path / "deep" / "er" / "new.json")
    check_writable(tmp_path, folder=True)
    check_writable(tmp_path / "deep" / "er", folder=True)
    assert os.listdir(tmp_path) == ["there.json"]


def test_a_relative_path_is_looked_for_here(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("new.json")
    check_writable("runs/new", folder=True)


def test_places_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, folder, said in [
        (tmp_path, False, "is a folder; expected a file"),
        (tmp_path / "file", True, "is a file; expected a folder"),
        (tmp_path / "file" / "run", True, "file is no folder; choose another place"),
        (tmp_path / "file" / "deep" / "a.json", False, "file is no folder"),
        (tmp_path / ("x" * 300), True, "cannot be written: File name too long"),
        ("a\0b.json", False, "cannot be written: "),
    ]:
        with pytest.raises(OptionError, match=said) as caught:
            check_writable(path, folder=folder)
        assert "\n" not in str(caught.value)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch) -> None:
    # The superuser may write everywhere, so the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OptionError, match="no permission to write in"):
        check_writable(tmp_path / "new.json")
