"""The shipped model: small enough, in its box, in its colour, and the hook is what does it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.errors import OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.run.render import render
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.schedule import ControlSchedule
from threedis_pocket import WEIGHTS
from threedis_pocket.bench.hook import bench_pocket
from threedis_pocket.bench.measure import GROUPS, METRICS
from threedis_pocket.bench.pictures import (
    BASE_MODEL,
    measure_backend,
    pocket_presets,
    scene_request,
)
from threedis_pocket.demo import make_demo
from threedis_pocket.layouts import sample_layouts
from threedis_pocket.training.data import pictures
from threedis_pocket.training.vae import load_vae, psnr

MEGABYTE = 1_000_000


PRESETS = (
    *("pocket-sd15", "pocket-sd21", "pocket-sdxl"),
    *("pocket-flux", "pocket-flux-controlnet", "pocket-sd35"),
    *("pocket-z-image",),
)


@pytest.fixture(scope="module")
def backend() -> RenderBackend:
    return load_plugins().renderer("pocket-sd15")


def test_the_presets_are_these_base_models() -> None:
    assert sorted(PRESETS) == pocket_presets(load_plugins())


def test_the_weights_are_safetensors_of_at_most_52_megabytes() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 52 * MEGABYTE
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_model_card(name: str) -> None:
    card = (WEIGHTS / name / "README.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert f"threedis bench pocket --preset {name}" in card


@pytest.mark.parametrize("name", ["pocket-sd15", "pocket-flux"])
def test_the_vae_reconstructs_held_out_scenes_at_31_db(name: str, tmp_path: Path) -> None:
    data = pictures(tmp_path, "test", 32)
    assert psnr(load_vae(WEIGHTS / name / "vae"), data, 32) >= 31


@pytest.mark.parametrize("name", PRESETS)
def test_the_hook_puts_colours_where_the_prompt_alone_cannot(name: str) -> None:
    with closing(load_plugins().renderer(name)) as renderer:
        layouts = [one for one in sample_layouts("validation", 24) if _is_telling(one)][:6]
        shares = {
            switch: [j.right for j in measure_backend(renderer, layouts, [0], control) if j.shared]
            for switch, control in (("on", None), ("off", BASE_MODEL))
        }
    assert len(shares["on"]) >= 12
    assert np.mean(shares["on"]) >= 0.8
    assert np.mean(shares["on"]) - np.mean(shares["off"]) >= 0.3


def _is_telling(layout: Layout) -> bool:
    """At least two of its instances have one shape."""
    return len({i.label for i in layout.instances}) < len(layout.instances)


def test_a_control_of_flux_can_be_switched_off_in_the_benchmark() -> None:
    figures = bench_pocket(load_plugins(), ["pocket-flux"], 1, 1, without=["i2i", "t2t"])
    assert list(figures["presets"]["pocket-flux"]) == ["on", "without i2i", "without t2t", "off"]


def test_a_control_that_a_renderer_does_not_have_is_refused_before_anything_is_drawn() -> None:
    drawn: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        drawn.append(done)

    with pytest.raises(OptionError, match="i2i"):
        bench_pocket(load_plugins(), ["pocket-sd15"], 1, 1, ["i2i"], progress)
    assert drawn == []


def test_a_run_with_the_pocket_models_needs_nothing_but_a_layout(tmp_path: Path) -> None:
    layout = sample_layouts("validation", 1)[0]
    run = render(
        layout, depth_model="pocket-scene", renderers=["pocket-sd15"], out=tmp_path / "run"
    )
    assert [path.name for path in sorted((tmp_path / "run").iterdir())] == [
        "depth.png",
        "layout.json",
        "layout.png",
        "pocket-sd15-seed0.png",
        "regions.png",
        "run.json",
        "sheet.png",
    ]
    picture = Image.open(tmp_path / "run" / "pocket-sd15-seed0.png")
    assert picture.size == (128, 128)
    assert np.array_equal(np.asarray(picture), np.asarray(run.images[0].image))
    assert isinstance(run.depth, DepthMap)


def test_the_benchmark_has_every_figure_with_its_interval(backend: RenderBackend) -> None:
    done: list[int] = []

    def progress(stage: str, now: int, total: int) -> None:
        done.append(now)

    figures: dict[str, Any] = bench_pocket(load_plugins(), ["pocket-sd15"], 2, 1, progress=progress)
    for switch in ("on", "off"):
        summary = figures["presets"]["pocket-sd15"][switch]
        assert set(summary) == set(METRICS)
        for metric in METRICS:
            assert set(summary[metric]) == set(GROUPS)
            assert set(summary[metric]["all"]) == {"value", "low", "high", "n"}
    assert done[-1] == 4


def test_the_demo_makes_one_sheet_and_says_what_it_measured(tmp_path: Path) -> None:
    demo = make_demo(load_plugins(), tmp_path, ["pocket-sd15", "pocket-flux"], count=1)
    sheet = Image.open(demo.path)
    assert sheet.width > 800
    assert "pocket-flux: " in demo.figures


def test_with_control_steps_zero_and_an_empty_schedule_the_picture_is_the_same(
    backend: RenderBackend,
) -> None:
    layout = sample_layouts("validation", 1)[0]
    off = load_plugins().renderer("pocket-sd15", {"control_steps": 0})
    one = off.render([scene_request(layout, 3)])[0].image
    other = backend.render([scene_request(layout, 3, ControlSchedule())])[0].image
    assert np.array_equal(np.asarray(one), np.asarray(other))
