from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threedis_core import (
    DepthError,
    DepthMap,
    InputError,
    Layout,
    LayoutError,
    OptionError,
    PluginError,
    RunConfig,
    WeightsError,
    render,
    render_config,
)
from threedis_core.plugin.interfaces import Capabilities
from threedis_core.run.config import RunSettings
from threedis_core.run.sizes import size_like
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_unknown_option_lists_the_known_ones_before_anything_renders(extras, calls) -> None:
    renderers = {"recording": {}, "fake@second": {"tinte": 1}}
    with pytest.raises(OptionError, match="'tinte' for renderer 'fake'") as caught:
        render(LAYOUT, depth=DEPTH, renderers=renderers, registry=extras)
    assert "It knows: max_instances, steps, tint. Did you mean 'tint'?" in str(caught.value)
    assert calls == []


def test_everything_is_validated_before_anything_is_rendered_or_written(
    extras, tmp_path, calls
) -> None:
    for renderers in ({"recording": {}, "fakee": {}}, {"recording": {}, "fake": {"stepz": 1}}):
        with pytest.raises(InputError):
            render(LAYOUT, depth=DEPTH, renderers=renderers, out=tmp_path / "run", registry=extras)
    assert calls == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seeds": [-1]}, OptionError, "seed is -1"),
        ({"seeds": []}, OptionError, "seeds"),
        ({"width": 65, "height": 64}, OptionError, "width is 65.*multiples of 8; use 64"),
        ({"height": 64}, OptionError, "height was given without width"),
        ({"width": 64}, OptionError, "width was given without height"),
        ({"width": 20000, "height": 64}, OptionError, "width is 20000"),
        ({"depth_model": "fake-depth"}, OptionError, "both given"),
        ({"depth": None, "depth_model": "planez"}, InputError, "Unknown depth model 'planez'"),
        ({"region_refiner": "sam"}, InputError, "Unknown region refiner 'sam'"),
        ({"renderers": []}, OptionError, "no renderer was named"),
        ({"renderers": ["narrow"]}, LayoutError, "2 instances, but renderer 'narrow' takes at m"),
        ({"depth": None}, OptionError, "give one with --depth FILE"),
        ({"batch_size": 0}, OptionError, "batch_size"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(extras, arguments, error, message) -> None:
    asked = {"depth": DEPTH, "renderers": ["fake"], **arguments}
    with pytest.raises(error, match=message) as caught:
        render(LAYOUT, registry=extras, **asked)
    assert "\n" not in str(caught.value)


def test_a_backend_that_cannot_be_made_is_named(extras) -> None:
    message = "renderer 'broken' of extras 1.0 .*cannot be made: KeyError: 'device'"
    with pytest.raises(PluginError, match=message):
        render(LAYOUT, depth=DEPTH, renderers=["broken"], registry=extras)


def test_what_a_refiner_lacks_is_said_before_a_depth_map_is_made(extras) -> None:
    asked = {"depth_model": "picky", "renderers": ["fake"], "registry": extras}
    with pytest.raises(WeightsError, match="no weights for 2 instances"):
        render(LAYOUT, region_refiner="unready", **asked)
    with pytest.raises(LayoutError, match="is no solid"):
        render(LAYOUT, region_refiner="boxes", **asked)


def test_the_size_is_the_one_asked_for_then_the_layouts_then_the_default(registry) -> None:
    def size(layout: Layout, depth: DepthMap = DEPTH, **asked) -> tuple[int, int]:
        run = render(layout, depth=depth, renderers=["fake"], registry=registry, **asked)
        return run.images[0].image.size

    sized = LAYOUT.model_copy(update={"width": 80, "height": 96})
    assert size(LAYOUT) == (64, 64)
    assert size(sized) == (80, 96)
    assert size(sized, width=128, height=64) == (128, 64)
    with pytest.raises(OptionError, match="width was given without height; give both or neither"):
        size(sized, width=128)
    assert size(LAYOUT, sample_depth(LAYOUT, 512, 512)) == (64, 64)
    assert size(LAYOUT, sample_depth(LAYOUT, 256, 64)) == (128, 32)


def test_default_sizes_keep_the_depth_maps_proportions() -> None:
    capabilities = Capabilities(size_multiple=8, default_size=(512, 512))
    assert size_like((1920, 1080), capabilities) == (680, 384)
    assert size_like((100, 100), capabilities) == (512, 512)
    assert size_like((1, 10_000), capabilities)[0] == 8
    small = Capabilities(size_multiple=8, default_size=(512, 512), max_size=(512, 512))
    assert size_like((1920, 960), small) == (512, 256)
    listed = Capabilities(default_size=(64, 64), sizes=((64, 64), (96, 48)))
    assert size_like((1920, 1080), listed) == (96, 48)


def test_what_has_no_effect_is_a_warning(extras) -> None:
    layout = sample_layout(1).model_copy(update={"negative_prompt": "blurry"})
    run = render(layout, depth=DEPTH, renderers=["narrow"], width=128, height=64, registry=extras)
    assert any("no negative prompt" in line for line in run.warnings)
    assert any("stretched by 2.00" in line for line in run.warnings)


@pytest.mark.parametrize(
    ("values", "warned"), [([[0.5] * 4] * 4, True), ([[0.5, 0.51]] * 4, False)]
)
def test_a_depth_map_without_any_depth_is_a_warning(registry, values, warned) -> None:
    depth = DepthMap(np.array(values))
    run = render(LAYOUT, depth=depth, renderers=["fake"], registry=registry)
    assert any("the same depth everywhere (0.5)" in line for line in run.warnings) == warned


def test_a_photo_given_as_depth_is_refused_before_anything_renders(extras, calls, tmp_path) -> None:
    photo = tmp_path / "photo.jpg"
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[20:40, 20:40] = (30, 120, 220)
    Image.fromarray(pixels).save(photo)
    config = RunConfig(depth=photo, renderers={"recording": {}}, out=tmp_path / "run")
    with pytest.raises(DepthError, match=f"threedis depth estimate {photo}"):
        render_config(config, layout=LAYOUT, registry=extras)
    assert calls == []
    assert not (tmp_path / "run").exists()


def test_a_config_reads_its_files(registry, tmp_path) -> None:
    LAYOUT.save(tmp_path / "scene.yaml")
    DEPTH.save(tmp_path / "depth.png")
    config = RunConfig(
        layout=tmp_path / "scene.yaml", depth=tmp_path / "depth.png", renderers={"fake": {}}
    )
    assert len(render_config(config, registry=registry).images) == 1
    with pytest.raises(DepthError, match=r"none\.png"):
        render_config(config.overridden({"depth": tmp_path / "none.png"}), registry=registry)


def test_every_renderer_is_checked_before_anything_runs(extras, tmp_path) -> None:
    asked = {"depth_model": "picky", "registry": extras, "out": tmp_path / "run"}
    renderers = {"filed": {"model": str(tmp_path)}, "filed@other": {"model": "nowhere"}}
    with pytest.raises(WeightsError, match="no folder nowhere"):
        render(LAYOUT, renderers=renderers, **asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [(16384, 16384), (16392, 8), (8, 20_000)])
def test_a_size_that_no_machine_should_be_asked_for_is_refused(extras, size) -> None:
    width, height = size
    with pytest.raises(OptionError, match="16384"):
        render(
            LAYOUT,
            depth_model="picky",
            renderers=["fake"],
            width=width,
            height=height,
            registry=extras,
        )


def test_a_setting_that_render_does_not_have_is_named(registry) -> None:
    with pytest.raises(
        OptionError, match=r"Unknown option 'seed' for render.*Did you mean 'seeds'"
    ):
        render(LAYOUT, depth=DEPTH, seed=3, registry=registry)


def test_the_arguments_of_render_are_fields_of_the_config() -> None:
    config = RunConfig.model_fields
    assert set(RunSettings.__annotations__) == set(config) - {"layout", "image_id", "depth"}
    assert all(field.description for field in config.values())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"layout": "scene.yaml"}, r"type str; expected a Layout: use read_layout\(file\)"),
        ({"depth": np.zeros((8, 8))}, r"type ndarray; expected a DepthMap: use DepthMap.load"),
        ({"config": "run.yaml"}, r"type str; expected a RunConfig: use RunConfig.load\(file\)"),
    ],
)
def test_a_value_of_another_type_is_told_what_to_pass(registry, asked, message) -> None:
    given = {"config": RunConfig(renderers=["fake"]), "layout": LAYOUT, "depth": DEPTH, **asked}
    with pytest.raises(OptionError, match=message):
        render_config(given.pop("config"), registry=registry, **given)


def test_an_empty_name_is_no_folder(registry) -> None:
    with pytest.raises(OptionError, match="expected the name of a folder"):
        render(LAYOUT, depth=DEPTH, renderers=["fake"], out="", registry=registry)
