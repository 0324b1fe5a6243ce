"""What ``threedis new-plugin`` writes passes its tests, and overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from threedis_core.cli import main
from threedis_core.cli.new_plugin.command import PluginKind


def new_plugin(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        main(["new-plugin", *arguments])
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize("kind", list(PluginKind))
def test_a_new_plugin_passes_its_own_tests(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_plugin(capsys, "odd-one", "--kind", kind) == (0, "")
    folder = tmp_path / "threedis-odd-one"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["threedis"] == {"odd-one": "threedis_odd_one"}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-2000:]
    assert "passed" in finished.stdout


def test_a_name_that_cannot_be_registered_is_refused(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("My Model", "ä", "-", "a/b"):
        code, said = new_plugin(capsys, "--", name)
        assert code == 2, name
        assert "expected lower case letters" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    code, said = new_plugin(capsys, "sketch", "--out", "mine")
    assert code == 2
    assert "'mine' is there already; name a new folder with --out" in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
