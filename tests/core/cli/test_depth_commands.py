"""``threedis depth generate``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threedis_core import DepthMap, Layout


def test_generate_writes_a_depth_map_and_prints_its_name(threedis) -> None:
    code, out, err = threedis("depth", "generate", "scene.yaml", "--model", "fake-depth")
    assert (code, out, err) == (0, "scene-depth.png\n", "")
    depth = DepthMap.load("scene-depth.png")
    assert (depth.width, depth.height) == (512, 512)


def test_generate_takes_seed_size_options_and_a_name(threedis) -> None:
    size = ("--width", "48", "--height", "32")
    common = ("depth", "generate", "scene.yaml", "--model", "fake-depth", *size)
    for number, extra in enumerate([(), ("--seed", "1"), ("--set", "noise=0.9")]):
        code, out, _ = threedis(*common, *extra, "--out", f"maps/{number}.png")
        assert (code, out) == (0, f"maps/{number}.png\n")
    maps = [DepthMap.load(f"maps/{number}.png") for number in range(3)]
    assert {(depth.width, depth.height) for depth in maps} == {(48, 32)}
    assert len({depth.checksum() for depth in maps}) == 3


def test_an_option_may_name_its_model(threedis) -> None:
    common = ("depth", "generate", "scene.yaml", "--model", "fake-depth", "--out")
    threedis(*common, "a.png", "--set", "noise=0.9")
    threedis(*common, "b.png", "--set", "fake-depth.noise=0.9")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_generate_takes_the_layouts_size(threedis) -> None:
    layout = Layout.load("scene.yaml").model_copy(update={"width": 80, "height": 40})
    layout.save("wide.yaml")
    threedis("depth", "generate", "wide.yaml", "--model", "fake-depth", "--out", "d.png")
    assert DepthMap.load("d.png").values.shape == (40, 80)


def test_a_generated_map_renders_the_pictures_of_a_run_with_its_model(threedis) -> None:
    size = ("--width", "64", "--height", "64")
    common = ("scene.yaml", "--renderer", "fake", *size, "--no-depth-cache")
    threedis("depth", "generate", "scene.yaml", "--model", "fake-depth", *size, "--out", "d.png")
    threedis("render", *common, "--depth", "d.png", "--out", "one")
    threedis("render", *common, "--depth-model", "fake-depth", "--out", "two")
    one, two = (DepthMap.load(f"{run}/depth.png").values for run in ("one", "two"))
    assert np.array_equal(one, two)
    pictures = [np.asarray(Image.open(f"{run}/fake-seed0.png")) for run in ("one", "two")]
    assert np.array_equal(*pictures)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "planez"), "Unknown depth model 'planez'"),
        (("--model", "fake-depth", "--set", "nois=1"), "Unknown option 'nois'"),
        (("--model", "fake-depth", "--seed", "-1"), "seed is -1"),
        (("--model", "fake-depth", "--width", "64"), "width was given without height"),
        (("--model", "fake-depth", "--out", "depth.jpg"), "ends in .png"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(threedis, arguments, said) -> None:
    assert said in threedis.fails("depth", "generate", "scene.yaml", *arguments)
    assert not Path("scene-depth.png").exists()


def test_a_broken_cache_is_a_warning(threedis, monkeypatch) -> None:
    Path("in-the-way").write_text("")
    monkeypatch.setenv("THREEDIS_CACHE", "in-the-way")
    command = ("depth", "generate", "scene.yaml", "--model", "fake-depth")
    code, out, err = threedis(*command)
    assert (code, out) == (0, "scene-depth.png\n")
    assert err.startswith("warning: the depth map is not kept")
    assert threedis(*command, "--no-depth-cache")[2] == ""
