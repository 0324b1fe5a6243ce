from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import threedis_core
from threedis_core import (
    Choice,
    Layout,
    OptionError,
    RunConfig,
    render,
    render_config,
)
from threedis_core.run.folder import read_provenance
from threedis_core.run.record.provenance import pixel_checksum
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_run_json_tells_how_the_pictures_came_to_be(registry, tmp_path) -> None:
    render(
        LAYOUT,
        depth_model=Choice(name="fake-depth", options={"noise": 0.2}),
        depth_seed=5,
        renderers={"pale": {"steps": 2}},
        out=tmp_path / "run",
        registry=registry,
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["threedis_run"] == 2
    assert record["versions"]["threedis"] == threedis_core.__version__
    assert record["versions"]["threedis-fakes"] == "1.0"
    assert record["depth"]["model"] == "fake-depth"
    assert record["depth"]["options"] == {"noise": 0.2}
    assert record["depth"]["seed"] == 5
    assert set(record["seconds"]) == {"depth", "regions", "pale"}
    (picture,) = record["images"]
    assert picture["file"] == "pale-seed0.png"
    assert picture["renderer"] == "pale"
    assert picture["backend"] == {"fake": True}
    assert record["config"]["renderers"] == {"pale": {"steps": 2}}
    assert record["renderers"]["pale"] == {
        "plugin": "threedis-fakes 1.0",
        "options": {"steps": 2, "tint": 0.6, "max_instances": 32},
    }


def test_a_picture_carries_its_own_provenance(registry, tmp_path) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["fake"], out=tmp_path / "run", registry=registry)
    provenance = read_provenance(tmp_path / "run" / "fake-seed0.png")
    assert provenance == run.images[0].provenance
    assert provenance["seed"] == 0
    assert Layout.from_dict(provenance["layout"]) == LAYOUT
    assert provenance["depth_checksum"] == run.depth.checksum()


def test_a_picture_without_provenance_says_so(tmp_path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(OptionError, match="no ThreeDIS provenance"):
        read_provenance(tmp_path / "plain.png")


def test_the_same_run_writes_the_same_bytes(registry, tmp_path) -> None:
    for name in ("one", "two"):
        render(
            LAYOUT,
            depth_model="fake-depth",
            depth_cache=False,
            renderers=["fake"],
            out=tmp_path / name,
            registry=registry,
        )
    for name in files(tmp_path / "one") - {"run.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("size", [(None, None), (96, 64)])
def test_a_run_json_renders_the_same_pictures_again(registry, tmp_path, size) -> None:
    width, height = size
    render(
        LAYOUT,
        depth_model="fake-depth",
        depth_seed=3,
        renderers={"fake": {"tint": 0.7}, "pale": {}},
        seeds=[1, 2],
        width=width,
        height=height,
        out=tmp_path / "one",
        registry=registry,
    )
    config = RunConfig.load(tmp_path / "one" / "run.json")
    again = config.overridden({"out": tmp_path / "two"})
    render_config(again, registry=registry)
    for name in files(tmp_path / "one") - {"run.json", "sheet.png"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_checksums_tell_pictures_apart() -> None:
    pictures = [
        Image.new("RGB", (2, 3)),
        Image.new("RGB", (3, 2)),
        Image.new("L", (2, 3)),
        Image.new("RGB", (2, 3), (0, 0, 1)),
    ]
    assert len({pixel_checksum(picture) for picture in pictures}) == 4
    assert pixel_checksum(pictures[0]) == pixel_checksum(pictures[0].copy())


def test_options_seed_and_renderer_are_told_once(registry, tmp_path) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["pale"], out=tmp_path / "run", registry=registry)
    (picture,) = run.record["images"]
    assert not {"options", "plugin", "layout", "versions"} & set(picture)
    told = json.dumps(dict(run.images[0].provenance))
    assert told.count('"tint"') == told.count('"seed"') == told.count('"pale"') == 1


def test_no_absolute_path_of_this_machine_is_told(extras, tmp_path, monkeypatch) -> None:
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    out = tmp_path / "runs" / "one"
    renderers = {"filed": {"model": str(model)}}
    run = render(LAYOUT, depth=DEPTH, renderers=renderers, out=out, registry=extras)
    for text in ((out / "run.json").read_text(), json.dumps(dict(run.images[0].provenance))):
        assert str(tmp_path) not in text
        assert "run:../../models/mine" in text
    monkeypatch.chdir("/")
    config = RunConfig.load(out / "run.json").overridden({"out": tmp_path / "two"})
    assert Path(config.renderers["filed"]["model"]).samefile(model)
    render_config(config, registry=extras)
    again = Image.open(tmp_path / "two" / "filed-seed0.png")
    assert again.tobytes() == run.images[0].image.tobytes()
