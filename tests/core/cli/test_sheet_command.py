"""``sheet.png`` of a run, and ``threedis sheet``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.drawing.sheet import GAP, MARGIN

CommandLine = Any  # the fixture ``threedis``

RENDER = ("render", "scene.yaml", "--depth", "depth.png", "--renderer")


@pytest.fixture
def runs(threedis) -> CommandLine:
    """The command line beside two runs of one layout, ``one`` and ``two``."""
    threedis(*RENDER, "fake", "--seed", "1", "--seed", "2", "--out", "one")
    threedis(*RENDER, "fake", "--renderer", "pale", "--hook", "both", "--out", "two")
    return threedis


def holds(sheet: Image.Image, picture: Image.Image) -> bool:
    """Whether a sheet shows a picture of 64 pixels, six times as large."""
    large = np.asarray(picture.resize((384, 384), Image.Resampling.LANCZOS))
    pixels = np.asarray(sheet)
    for x in range(MARGIN, sheet.width - 384, 384 + GAP):
        column = pixels[:, x : x + 384]
        tops = np.flatnonzero((column == large[0]).all(axis=(1, 2)))
        if any(np.array_equal(column[y : y + 384], large) for y in tops):
            return True
    return False


def test_the_sheet_of_a_run_shows_each_of_its_pictures(runs) -> None:
    for name, pictures in (("one", 2), ("two", 4)):
        sheet = Image.open(f"{name}/sheet.png")
        files = sorted(Path(name).glob("*-seed*.png"))
        assert len(files) == pictures
        assert all(holds(sheet, Image.open(file)) for file in files)


def test_the_sheet_of_one_run_is_drawn_again(runs) -> None:
    code, out, _ = runs("sheet", "one", "--out", "new/again.png")
    assert (code, out) == (0, "new/again.png\n")
    assert Image.open("new/again.png").size == Image.open("one/sheet.png").size


def test_several_runs_stand_side_by_side(runs) -> None:
    code, out, _ = runs("sheet", "one", "two/")
    assert (code, out) == (0, "sheet.png\n")
    sheet = Image.open("sheet.png")
    assert sheet.width >= 2 * 384
    files = [*Path("one").glob("*-seed*.png"), *Path("two").glob("*-seed*.png")]
    assert all(holds(sheet, Image.open(file)) for file in files)


def test_a_folder_of_runs_stands_for_them(runs) -> None:
    assert runs("sheet", ".", "--out", "all.png")[0] == 0
    runs("sheet", "one", "two", "--out", "both.png")
    assert Image.open("all.png").size == Image.open("both.png").size


def test_warnings_make_a_sheet_longer(runs) -> None:
    record = json.loads(Path("one/run.json").read_text())
    record["warnings"] = ["instance 1 is nowhere to be seen"]
    Path("one/run.json").write_text(json.dumps(record))
    runs("sheet", "one")
    assert Image.open("sheet.png").height > Image.open("one/sheet.png").height


def test_a_picture_that_is_gone_is_left_out(runs) -> None:
    Path("one/fake-seed1.png").unlink()
    assert runs("sheet", "one")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not there; expected the folder of a run"),
        (["scene.yaml"], "scene.yaml is a file; expected the folder of a run"),
        (["empty"], "empty is no run: it has no run.json"),
        (["foreign"], "foreign is no run: its run.json was not written by ThreeDIS"),
        (["odd"], "odd: its run.json is damaged"),
        (["one", "--out", "x.jpg"], "--out x.jpg: expected a name that ends in .png"),
        (["one", "--out", "one"], "--out one: expected a name"),
    ],
)
def test_what_is_no_run_is_refused(runs, arguments, message) -> None:
    Path("empty").mkdir()
    for name, text in (("foreign", '{"a": 1}'), ("odd", '{"threedis_run": 2, "images": [3]}')):
        Path(name).mkdir()
        Path(name, "run.json").write_text(text)
    assert message in runs.fails("sheet", *arguments)


@pytest.mark.parametrize("name", ["layout.json", "depth.png", "regions.png"])
def test_a_run_that_lost_a_file_is_refused_with_its_name(runs, name) -> None:
    Path("one", name).unlink()
    assert f"one/{name}" in runs.fails("sheet", "one")
