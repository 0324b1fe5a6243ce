"""Several layouts in one call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threedis_core import LayoutError, OptionError, render
from threedis_core.run.group import folder_names
from threedis_core.testing import sample_depth, sample_layout

ONE = sample_layout(2)
TWO = ONE.model_copy(update={"prompt": "other solids", "negative_prompt": "fog"})
DEPTH = sample_depth(ONE, 64, 64)


class StoppedError(Exception):
    pass


def test_several_layouts_share_a_loaded_model(extras, calls, tmp_path) -> None:
    asked = {"depth": DEPTH, "renderers": ["recording", "pale"], "seeds": [0, 1]}
    runs = render([ONE, TWO], registry=extras, out=tmp_path / "both", **asked)
    assert calls == [("render", [0, 1]), ("render", [0, 1]), ("close", None)]
    assert [run.layout.prompt for run in runs] == [ONE.prompt, TWO.prompt]
    names = ["solids-on-a-floor", "other-solids"]
    assert [run.folder for run in runs] == [tmp_path / "both" / name for name in names]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {*names, "sheet.png"}
    for run, layout in zip(runs, (ONE, TWO), strict=True):
        alone = render(layout, registry=extras, **asked)
        for made, expected in zip(run.images, alone.images, strict=True):
            assert np.array_equal(np.asarray(made.image), np.asarray(expected.image))


def test_without_a_folder_nothing_is_written(extras, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = render([ONE, TWO], depth=DEPTH, renderers=["pale"], registry=extras)
    assert [run.folder for run in runs] == [None, None]
    assert {path.name for path in tmp_path.iterdir()} == {"site"}


def test_a_stopped_group_goes_on(extras, calls, tmp_path) -> None:
    asked = {"depth": DEPTH, "renderers": ["recording"], "out": tmp_path / "both"}

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "pictures":
            assert total == 2
            raise StoppedError

    with pytest.raises(StoppedError):
        render([ONE, TWO], registry=extras, progress=stop, **asked)
    calls.clear()
    runs = render([ONE, TWO], registry=extras, **asked)
    assert [run.kept for run in runs] == [1, 0]
    assert [what for what, _ in calls] == ["render", "close"]


@pytest.mark.parametrize("name", ["mine.txt", "run.json", "sheet.png"])
def test_a_folder_of_something_else_is_refused(extras, calls, tmp_path, name) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / name).write_text("mine")
    with pytest.raises(OptionError, match=r"is not empty|holds one run"):
        render(
            [ONE, TWO], depth=DEPTH, renderers=["recording"], registry=extras, out=tmp_path / "both"
        )
    assert calls == []
    assert (tmp_path / "both" / name).read_text() == "mine"


def test_one_layout_that_does_not_fit_stops_all_before_anything_renders(extras, calls) -> None:
    with pytest.raises(OptionError, match="no layout"):
        render([], renderers=["recording"], registry=extras)
    crowd = sample_layout(40)
    for place, layouts in ((1, [ONE, crowd]), (0, [crowd, ONE])):
        with pytest.raises(LayoutError, match=rf"^layout\[{place}\]: .*40 instances"):
            render(layouts, depth=DEPTH, renderers=["recording"], registry=extras)
    misspelt = {"recording": {"stepz": 3}}
    with pytest.raises(OptionError, match=r"^Unknown option"):
        render([ONE, TWO], depth=DEPTH, renderers=misspelt, registry=extras)
    assert calls == []


def test_folders_have_names_of_their_own_that_fit_any_file_system() -> None:
    assert folder_names(["a", "A", "a"]) == ["a", "A-2", "a-3"]
    assert folder_names(["../x", "a b/c", "", "赤"]) == ["x", "a-b-c", "layout", "赤"]
    assert len(folder_names(["x" * 500])[0]) <= 60


RENDER = ("render", "scene.yaml", "more/scene.json", "--depth", "depth.png", "--renderer", "fake")


def test_the_command_takes_several_layouts(threedis) -> None:
    Path("more").mkdir()
    TWO.save("more/scene.json")
    code, out, err = threedis(*RENDER, "--out", "both")
    files = ["both/scene/fake-seed0.png", "both/scene-2/fake-seed0.png", "both/sheet.png"]
    assert (code, out.split(), err) == (0, files, "")
    assert threedis.notes[0].startswith("threedis: scene.yaml, more/scene.json with fake: 2 pict")
    assert Image.open("both/sheet.png").width > 2 * 384
    code, _, _ = threedis(*RENDER, "--out", "both")
    assert (code, threedis.notes[1:]) == (0, ["threedis: 2 of 2 pictures were there already"])
    assert "holds one run" in threedis.fails(*RENDER, "--out", "both/scene")
    line = threedis.fails("render", "scene.yaml", "--renderer", "fake", "--out", "both")
    assert "both holds several runs (scene, scene-2); choose another folder" in line
    Path("third.json").write_bytes(Path("more/scene.json").read_bytes())
    line = threedis.fails("render", "scene.yaml", "third.json", *RENDER[3:], "--out", "both")
    assert "both holds runs of other layouts (scene-2); choose another folder with --out" in line
    assert "belongs to one layout" in threedis.fails(*RENDER, "--image-id", "3")


def test_a_default_folder_holds_a_group(threedis) -> None:
    Path("more").mkdir()
    TWO.save("more/scene.json")
    _, out, _ = threedis(*RENDER)
    assert Path(out.split()[-1]).match("runs/*-2-layouts/sheet.png")
