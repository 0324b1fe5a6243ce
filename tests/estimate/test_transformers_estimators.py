"""``depth-anything`` and ``dpt`` on tiny random models of the real classes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil

from threedis_core import DepthEstimator, DepthMap, load_plugins
from threedis_core.errors import InputError, OptionError, RenderError, WeightsError
from threedis_core.testing.checks import check_discovery_is_light, check_unknown_option_is_refused

NAMES = ("depth-anything", "dpt")


Make = Callable[..., DepthEstimator]


@pytest.fixture(scope="module")
def make(model_folders) -> Make:
    """Make an estimator by name, with its tiny model or another."""
    registry = load_plugins()

    def make(name: str, model: str | Path | None = None, **options: object) -> DepthEstimator:
        chosen = {"model": str(model or model_folders[name]), **options}
        return registry.depth_estimator(name, chosen)

    return make


def expected(
    folder: Path,
    picture: Image.Image,
    metric: bool = False,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """The map by transformers' own interpolation, from 0 to 1."""
    model = AutoModelForDepthEstimation.from_pretrained(folder).eval()
    pixels = DPTImageProcessorPil.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.no_grad():
        depth = model(**pixels).predicted_depth
    near = 1 / depth.clamp(min=0.1) if metric else depth
    size = size or (picture.height, picture.width)
    resized = torch.nn.functional.interpolate(near[None], size, mode="bicubic")[0, 0]
    span = resized.max() - resized.min()
    return ((resized - resized.min()) / (span if span > 0 else 1)).numpy()


def test_registering_imports_no_model_library() -> None:
    check_discovery_is_light("threedis_estimate")


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_gives_the_stretched_output_of_its_model(
    name, make, pictures, model_folders
) -> None:
    maps = make(name).estimate(pictures)
    assert len(maps) == len(pictures)
    for depth, picture in zip(maps, pictures, strict=True):
        assert isinstance(depth, DepthMap)
        assert depth.values.dtype == np.float32
        wanted = expected(model_folders[name], picture)
        np.testing.assert_allclose(depth.values, wanted, atol=1e-4)
        assert wanted.std() > 0.05


def test_a_metric_models_metres_become_their_inverse(make, pictures, model_folders) -> None:
    folder = model_folders["metric"]
    found = make("depth-anything", folder).estimate(pictures[:1])[0]
    np.testing.assert_allclose(found.values, expected(folder, pictures[0], metric=True), atol=1e-4)


def test_the_option_says_that_a_model_makes_metres_or_not(make, pictures, model_folders) -> None:
    folder = model_folders["dpt"]
    found = make("dpt", metric=True).estimate(pictures[:1])[0]
    wanted = expected(folder, pictures[0], metric=True)
    np.testing.assert_allclose(found.values, wanted, atol=1e-4)
    assert np.abs(wanted - expected(folder, pictures[0])).max() > 0.5
    folder = model_folders["metric"]
    found = make("depth-anything", folder, metric=False).estimate(pictures[:1])[0]
    np.testing.assert_allclose(found.values, expected(folder, pictures[0]), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_the_one_its_picture_gives_alone(name, make, pictures) -> None:
    estimator = make(name)
    together = estimator.estimate(pictures)
    for picture, depth in zip(pictures, together, strict=True):
        alone = estimator.estimate([picture])[0]
        np.testing.assert_allclose(depth.values, alone.values, atol=1e-5)
    one_by_one = make(name, batch_size=1).estimate(pictures)
    np.testing.assert_allclose(together[2].values, one_by_one[2].values, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_any_mode_are_read(mode, make, pictures) -> None:
    picture = pictures[0].convert(mode)
    found = make("dpt").estimate([picture])[0]
    again = make("dpt").estimate([picture.convert("RGB")])[0]
    assert np.array_equal(found.values, again.values)


def test_progress_counts_pictures(make, pictures) -> None:
    told = []
    make("dpt").estimate(pictures, lambda *step: told.append(step))
    assert told == [("depth", 2, 3), ("depth", 3, 3)]


def test_no_pictures_give_no_maps(make) -> None:
    assert make("dpt").estimate([]) == []


def test_closing_and_estimating_again_gives_the_same_map(make, pictures) -> None:
    estimator = make("dpt")
    first = estimator.estimate(pictures)
    estimator.close()
    for one, other in zip(first, estimator.estimate(pictures), strict=True):
        assert np.array_equal(one.values, other.values)


def test_half_precision_is_near_full_precision(make, pictures) -> None:
    full, half = (
        make("dpt", dtype=dtype).estimate(pictures[:1])[0].values
        for dtype in ("float32", "bfloat16")
    )
    assert 0 < np.abs(full - half).max() < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused(name, make) -> None:
    check_unknown_option_is_refused(make(name).Options)


def test_a_picture_that_is_hardly_more_than_a_line_is_refused_before_loading(make) -> None:
    line = Image.new("RGB", (600, 10))
    with pytest.raises(InputError, match=r"pictures\[0\]: 600x10 pixels; .* 16 times"):
        make("dpt", "nowhere/at-all").estimate([line])


def test_another_kind_of_model_is_refused(make, pictures, model_folders) -> None:
    with pytest.raises(WeightsError, match=r"model of type 'dpt'; expected 'depth_anything'"):
        make("depth-anything", model_folders["dpt"]).estimate(pictures)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named_before_anything_is_loaded(
    file, make, pictures, model_folders, tmp_path, monkeypatch
) -> None:
    folder = shutil.copytree(model_folders["dpt"], tmp_path / "model")
    (folder / file).unlink()
    monkeypatch.setattr("transformers.DPTForDepthEstimation.from_pretrained", None)
    with pytest.raises(WeightsError, match=f"has no file '{file}'; .*transformers format"):
        make("dpt", folder).estimate(pictures)


def test_a_damaged_file_is_one_clear_line(make, pictures, model_folders, tmp_path) -> None:
    folder = shutil.copytree(model_folders["dpt"], tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not at all")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        make("dpt", folder).estimate(pictures)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("dpt", "head.head.4.weight"),
        ("dpt", "neck.fusion_stage.layers.1.residual_layer1.convolution1.weight"),
        ("depth-anything", "neck.fusion_stage.layers.0.residual_layer1.convolution1.weight"),
    ],
)
def test_weights_that_are_not_all_there_are_refused(
    name, weight, make, pictures, model_folders, tmp_path
) -> None:
    folder = shutil.copytree(model_folders[name], tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights[weight]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=re.escape(weight)):
        make(name, folder).estimate(pictures)


def test_dpt_needs_no_weights_that_it_never_uses(make, pictures, model_folders, tmp_path) -> None:
    folder = model_folders["dpt"]
    published = load_file(folder / "model.safetensors")
    model = AutoModelForDepthEstimation.from_pretrained(folder)
    assert len(model.state_dict()) == len(published) + 4
    model.save_pretrained(tmp_path / "whole")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "whole")
    few, all_of_them = (
        make("dpt", model).estimate(pictures[:1])[0].values
        for model in (folder, tmp_path / "whole")
    )
    assert np.array_equal(few, all_of_them)


def test_a_repository_that_is_not_here_says_how_to_get_it(make, pictures, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="hf download nobody/nothing"):
        make("dpt", "nobody/nothing").estimate(pictures)


def test_a_device_that_is_not_there_is_refused(make, pictures) -> None:
    with pytest.raises(OptionError, match="no such device"):
        make("dpt", device="cuda:77").estimate(pictures)


def test_numbers_that_are_not_finite_are_an_error(make, pictures, model_folders, tmp_path) -> None:
    folder = shutil.copytree(model_folders["dpt"], tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["head.head.4.bias"] = torch.tensor([float("nan")])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for dtype, advice in (
        ("auto", "in dtype float32; the weights are damaged"),
        ("bfloat16", "in dtype bfloat16; use dtype=float32"),
    ):
        with pytest.raises(RenderError, match=f"not finite {advice}"):
            make("dpt", folder, dtype=dtype, device="cpu").estimate(pictures)


def ramp() -> np.ndarray:
    """16-bit grey, shape (30, 40), from black to white."""
    return np.linspace(0, 65535, 30 * 40).round().astype(np.uint16).reshape(30, 40)


def test_deep_grey_pictures_are_scaled_and_not_clipped(make, tmp_path) -> None:
    levels = ramp()
    Image.fromarray(levels).save(tmp_path / "deep.png")
    Image.fromarray(levels.astype(np.int32)).save(tmp_path / "whole.tif")
    Image.fromarray((levels / 65535).astype(np.float32)).save(tmp_path / "floats.tif")
    deep, whole, floats = (
        Image.open(tmp_path / name) for name in ("deep.png", "whole.tif", "floats.tif")
    )
    big_endian = Image.frombytes("I;16B", (40, 30), levels.astype(">u2").tobytes())
    assert [picture.mode for picture in (deep, whole, floats)] == ["I;16", "I", "F"]
    shallow = Image.fromarray((levels // 257).astype(np.uint8))
    wanted, *found = make("dpt").estimate([shallow, deep, whole, floats, big_endian])
    assert wanted.values.std() > 0.05
    for depth in found:
        np.testing.assert_allclose(depth.values, wanted.values, atol=0.02)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (ramp().astype(np.int32) * 2, "from 0 to 131070; expected whole numbers of 16 bits"),
        (ramp().astype(np.int32) - 1, "from -1 to 65534; expected whole numbers of 16 bits"),
        (ramp().astype(np.float32), "from 0 to 65535; expected floats from 0 to 1"),
        (np.full((30, 40), np.nan, dtype=np.float32), "expected floats from 0 to 1"),
    ],
)
def test_grey_values_out_of_range_are_refused_before_loading(values, said, make) -> None:
    given = [Image.new("RGB", (40, 30)), Image.fromarray(values)]
    with pytest.raises(InputError, match=rf"pictures\[1\]: .*{said}"):
        make("dpt", "nowhere/at-all").estimate(given)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 3), (40, 3), (3, 40)])
def test_thin_pictures_get_maps_of_their_size(size, make, model_folders) -> None:
    width, height = size
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    found = make("dpt").estimate([Image.fromarray(pixels)])[0]
    assert (found.width, found.height) == size
    # The model sees what it would see of the same picture, resized before by the same rule.
    large = Image.fromarray(pixels).resize((28, 28), Image.Resampling.BICUBIC)
    wanted = expected(model_folders["dpt"], large, size=(height, width))
    np.testing.assert_allclose(found.values, wanted, atol=0.02)
