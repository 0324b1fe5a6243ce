from __future__ import annotations

from pathlib import Path

import threedis_core
from threedis_core.run.record.portable_paths import at_home, portable


def test_paths_in_a_package_are_told_by_the_package(tmp_path) -> None:
    weights = str(Path(threedis_core.__file__).parent / "py.typed")
    options = {"model": weights, "steps": 3, "loras": [{"path": weights}]}
    told = portable(options, tmp_path, ["threedis_core"])
    name = "package:threedis_core/py.typed"
    assert told == {"model": name, "steps": 3, "loras": [{"path": name}]}
    assert at_home(told, tmp_path) == options


def test_other_paths_are_told_from_the_runs_folder(tmp_path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "runs" / "one").mkdir(parents=True)
    told = portable({"model": str(tmp_path / "models")}, tmp_path / "runs" / "one")
    assert told == {"model": "run:../../models"}
    assert at_home(told, tmp_path / "runs" / "one") == {"model": str(tmp_path / "models")}


def test_paths_at_home_do_not_tell_where_home_is(tmp_path, monkeypatch) -> None:
    home = tmp_path / "home" / "ada"
    (home / "models").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    told = portable([str(home / "models")], tmp_path / "runs")
    assert told == ["~/models"]
    assert "ada" not in portable([str(home / "models")], home / "runs")[0]


def test_what_is_no_path_stays(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "auto").mkdir()
    texts = ["auto", "owner/name", "", "run: a dog", "a/b\0", "package:nothing/here", "~nobody/x"]
    assert portable(texts, tmp_path) == texts
    assert at_home(texts, tmp_path) == texts
