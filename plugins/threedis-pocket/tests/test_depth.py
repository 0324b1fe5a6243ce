"""The shipped depth model: things stand where the layout wants them, and the adapter does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core.cli import main
from threedis_core.errors import LayoutError, OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import plan_run
from threedis_core.run.render import render
from threedis_core.testing import DepthModelConformance
from threedis_core.testing.samples import sample_layout
from threedis_core.values.layout import Box, Instance, Layout
from threedis_ldm3d.hook import LayoutHook
from threedis_ldm3d.layout_adapter import LayoutAdapter
from threedis_ldm3d.training.config import TrainingConfig
from threedis_pocket.bench.depth_maps import TEXT_ONLY, bench_depth, placed, print_depth_table
from threedis_pocket.bench.hook import bench_pocket
from threedis_pocket.bench.pictures import make_maps
from threedis_pocket.bench.silhouettes import find_silhouettes
from threedis_pocket.depth_model import PocketDepth, PocketDepthOptions
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.training.depth_base import CONFIGS, make_depth_base
from threedis_pocket.world import draw, floor_depth


def test_an_empty_room_has_no_silhouettes() -> None:
    rows = (torch.arange(128) + 0.5) / 128
    assert find_silhouettes(floor_depth(rows)[:, None].expand(128, 128).numpy()) == []


def test_the_silhouettes_of_exact_depth_are_the_layouts_boxes() -> None:
    layouts = sample_layouts("validation", 16)
    scenes = [draw(layout_scene(layout), supersample=1).depth[0].numpy() for layout in layouts]
    best = [
        max(instance.box.iou(box) for box in find_silhouettes(depth))
        for layout, depth in zip(layouts, scenes, strict=True)
        for instance in layout.instances
    ]
    assert np.mean([iou >= 0.5 for iou in best]) >= 0.97


def test_the_adapter_puts_things_into_their_boxes_and_text_alone_does_not() -> None:
    layouts = sample_layouts("validation", 8)
    shares = {}
    for name, options in {"on": {}, "off": TEXT_ONLY}.items():
        model = load_plugins().depth_model("pocket-depth", options)
        shares[name] = np.mean(
            [iou >= 0.5 for iou in placed(layouts, make_maps(model, layouts, [0]))]
        )
    assert shares["on"] >= 0.8
    assert shares["off"] <= 0.4


def test_its_adapter_is_the_real_class() -> None:
    loaded = PocketDepth(PocketDepthOptions()).load()
    assert type(loaded.adapter) is LayoutAdapter
    assert LayoutHook.__module__ == "threedis_ldm3d.hook"


def test_a_noun_it_does_not_know_is_refused_before_anything_loads() -> None:
    model = PocketDepth(PocketDepthOptions(model="/nowhere"))
    with pytest.raises(LayoutError, match="'cat', which names no single shape"):
        model.generate([DepthRequest(cat(), 0, 128, 128)])
    with pytest.raises(OptionError, match=r"'pocket-depth', cannot draw it: instances\[0\]"):
        plan_run(RunConfig(), load_plugins(), cat())


def test_it_is_the_default_depth_model(tmp_path: Path) -> None:
    layout = sample_layouts("validation", 1)[0]
    run = render(layout, renderers={"pocket-sd15": {"steps": 1}}, out=tmp_path / "run")
    assert run.record["depth"]["model"] == "pocket-depth"


def test_the_depth_benchmark_measures_adapter_text_and_exact_depth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = bench_depth(load_plugins(), "pocket-depth", layouts=2, seeds=1)
    assert list(figures) == ["adapter and fusion", "adapter alone", "text alone", "exact depth"]
    assert all(set(row) == {"found", "iou"} for row in figures.values())
    print_depth_table("pocket-depth", figures)
    assert "exact depth" in capsys.readouterr().out


def test_a_benchmark_of_both_stages_says_what_made_the_depth() -> None:
    figures = bench_pocket(load_plugins(), ["pocket-sd15"], 1, 1, depth_model="pocket-depth")
    assert figures["settings"]["depth"] == "pocket-depth"
    exact = bench_pocket(load_plugins(), ["pocket-sd15"], 1, 1)
    assert figures["presets"] != exact["presets"]


def test_the_training_starts_from_trained_parts(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="threedis pocket train depth-vae"):
        make_depth_base(tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_of_the_training_is_valid(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(CONFIGS[name])
    config = TrainingConfig.load(tmp_path / f"{name}.yaml")
    assert config.out == tmp_path / name
    assert config.train == name.split("-")[1]


def test_the_command_draws_a_depth_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample_layouts("validation", 1)[0].save("layout.yaml")
    size = ["--width", "128", "--height", "128"]
    with pytest.raises(SystemExit, match="0"):
        main(["depth", "generate", "layout.yaml", "--model", "pocket-depth", *size])
    with Image.open("layout-depth.png") as picture:
        assert (picture.size, picture.mode) == ((128, 128), "I;16")


class TestPocketDepth(DepthModelConformance):
    plugin_module = "threedis_pocket"

    def make_model(self, **options: Any) -> PocketDepth:
        return PocketDepth(PocketDepthOptions(**{"steps": 3, **options}))

    def layout(self, instances: int) -> Layout:
        cubes = [
            i.model_copy(update={"prompt": "a red cube", "label": "cube"})
            for i in sample_layout(instances).instances
        ]
        return Layout(prompt="cubes", instances=tuple(cubes))

    def unfit_layout(self) -> Layout:
        return cat()


def cat() -> Layout:
    """What the pocket world does not have."""
    box = Box.from_xyxy((0.1, 0.1, 0.5, 0.5))
    return Layout(prompt="a cat", instances=(Instance(prompt="a cat", box=box),))
