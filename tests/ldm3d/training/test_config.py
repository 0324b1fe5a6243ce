"""The settings of a training: defaults, paths, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from threedis_core.errors import OptionError
from threedis_ldm3d.options import PUBLISHED
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.noise import pyramid_noise


def load(folder: Path, text: str, *changes: str) -> TrainingConfig:
    path = folder / "config.yaml"
    data = "" if "data:" in text else "data: {format: folder, path: scenes}\n"
    path.write_text(f"{data}out: trained\n{text}")
    return TrainingConfig.load(path, changes)


def test_the_defaults_are_the_published_ones(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert (config.model, config.unet) == ("Intel/ldm3d-4c", PUBLISHED)
    assert config.noise_range == (500, 999)
    assert config.batch_size * config.accumulation == 32
    assert (config.learning_rate, config.warmup, config.schedule) == (1e-4, 2000, "constant")
    assert (config.pyramid_noise, config.most_instances, config.max_grad_norm) == (0.3, 7, 1.0)


def test_the_unet_starts_from_the_models_own_and_sees_all_timesteps(tmp_path: Path) -> None:
    config = load(tmp_path, "train: unet\n")
    assert config.unet is None
    assert config.noise_range == (0, 999)
    assert load(tmp_path, "train: unet\nunet: some/repo\n").unet == "some/repo"


def test_paths_are_relative_to_the_file_and_hub_ids_stay(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    config = load(tmp_path, "model: base\nunet: some/repo\ncache: kept\n")
    assert config.model == str(tmp_path / "base")
    assert config.unet == "some/repo"
    assert config.data.path == tmp_path / "scenes"
    assert (config.out, config.cache_folder) == (tmp_path / "trained", tmp_path / "kept")
    assert load(tmp_path, "").cache_folder == tmp_path / "trained" / "cache"


def test_a_setting_can_be_changed_from_the_command_line(tmp_path: Path) -> None:
    config = load(tmp_path, "validation: {steps: 5}\n", "validation.every=7", "steps=9")
    assert (config.validation.steps, config.validation.every, config.steps) == (5, 7, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timesteps: [700, 300]\n", "700, 300"),
        ("train: unet\nadapter: some/repo\n", "train is unet"),
        ("learning_rte: 1\n", "learning_rate"),
        ("batch_size: 0\n", "batch_size is 0"),
        ("size: 100\n", "size is 100.*multiple of 8"),
        ("validation: {evry: 5}\n", r"validation\.evry is not a known field.*mean 'every'\?"),
        ("validation: {every: 0}\n", r"validation\.every is 0"),
        ("depth_estimator: {nam: dpt}\n", r"depth_estimator\.nam is not .*mean 'name'\?"),
        ("data: {format: folder, pth: scenes}\n", r"data\.folder\.pth is not .*mean 'path'\?"),
        ("data: {format: coco, image: a, annotations: b}\n", r"mean 'images'\?"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def mappings(schema: Any) -> Iterator[dict[str, Any]]:
    """The schemas of mappings in ``schema``, at any depth: one may be one of several kinds."""
    inside = schema.values() if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield schema
    if isinstance(schema, dict | list):
        for part in inside:
            yield from mappings(part)


def test_every_field_is_described_in_the_schema_that_forms_are_made_of() -> None:
    schema = TrainingConfig.model_json_schema()
    found = list(mappings(schema))
    assert {"TrainingConfig", "Choice", "CocoData"} <= {model["title"] for model in found}
    for model in found:
        for name, field in model["properties"].items():
            assert field.get("description"), name
    steps = schema["properties"]["steps"]
    assert (steps["default"], steps["minimum"]) == (50_000, 1)


def test_reading_a_config_loads_no_torch() -> None:
    code = "import sys, threedis_ldm3d.training.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"zip.*'coco', 'folder'"):
        load(tmp_path, "", "data.format=zip")


def test_files_of_weights_are_beside_the_config_even_if_they_are_not_there_yet(
    tmp_path: Path,
) -> None:
    (tmp_path / "estimator").mkdir()
    text = (
        "unet: made/unet.safetensors\ndepth_estimator: {name: dpt, options: {model: estimator}}\n"
    )
    config = load(tmp_path, text)
    assert config.unet == str(tmp_path / "made" / "unet.safetensors")
    assert config.depth_estimator is not None
    assert config.depth_estimator.options["model"] == str(tmp_path / "estimator")


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9])
def test_noise_has_deviation_one_and_depends_on_the_seed_alone(strength: float) -> None:
    def noise(seed: int) -> torch.Tensor:
        return pyramid_noise((2, 4, 32, 32), strength, torch.Generator().manual_seed(seed))

    torch.testing.assert_close(noise(1).std((1, 2, 3)), torch.ones(2), atol=0.05, rtol=0)
    assert torch.equal(noise(1), noise(1))
    assert not torch.equal(noise(1), noise(2))


def test_pyramid_noise_is_coarser_than_plain_noise() -> None:
    def coarse(strength: float) -> float:
        noise = pyramid_noise((8, 4, 64, 64), strength, torch.Generator().manual_seed(0))
        return float(torch.nn.functional.avg_pool2d(noise, 16).std())

    assert coarse(0.9) > 2 * coarse(0.0)
