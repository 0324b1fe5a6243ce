"""Nothing that lies where a training reads is ever run."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from threedis_core.errors import ThreeDISError, WeightsError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.checkpoint import convert_adapter
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.train import train_layout_depth

NAMES = (
    *("optimizer.bin", "scheduler.bin", "pytorch_model.bin", "scaler.pt", "sampler.bin"),
    *("custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "random_states_0.pkl"),
    *("diffusion_pytorch_model.bin", "model.ckpt", "layout_adapter.ckpt", "unet_0901.ckpt"),
    *("events.out.tfevents.1.host", "shard-00000.pt", "shard-00000.pkl", "rows.npy", "cache.pkl"),
)


class Harm:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "harmed"


@pytest.fixture
def plant(mark: Path) -> Callable[..., Path]:
    """Write a pickle that does harm, as ``pickle`` or as ``torch.save`` does."""

    def write(file: Path, torch_format: bool = True) -> Path:
        if torch_format:
            torch.save({"state_dict": {"weight": Harm(mark)}}, file)
        else:
            file.write_bytes(pickle.dumps(Harm(mark)))
        return file

    return write


@pytest.fixture
def work(tmp_path: Path, model_folder: Path) -> Path:
    """A folder with two examples and a config, and a model of its own."""
    shutil.copytree(model_folder, tmp_path / "model")
    folder = tmp_path / "scenes"
    folder.mkdir()
    lines = []
    for number in range(2):
        values = np.random.default_rng(number).random((32, 32), dtype=np.float32)
        DepthMap(values).save(folder / f"{number}-depth.png")
        Image.fromarray((values * 255).astype(np.uint8)).save(folder / f"{number}.png")
        box = {"prompt": "a cube", "box": [0.1, 0.1, 0.6, 0.6]}
        lines.append(
            {
                "name": str(number),
                "image": f"{number}.png",
                "depth": f"{number}-depth.png",
                "layout": {"prompt": "a cube", "instances": [box]},
            }
        )
    (folder / "examples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = {
        "model": "model",
        "unet": None,
        "data": {"format": "folder", "path": "scenes"},
        "depth_estimator": None,
        "cache": "cache",
        "size": 32,
        "steps": 1,
        "batch_size": 1,
        "accumulation": 1,
        "box_width": 16,
        "checkpoint_every": 1,
        "validation": {"examples": 0, "pictures": 0},
        "out": "trained",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def train(work: Path, *changes: str) -> Path:
    return train_layout_depth(TrainingConfig.load(work / "config.yaml", changes), load_plugins())


@pytest.mark.parametrize("torch_format", [True, False])
def test_pickles_beside_what_a_training_reads_are_never_run(
    work: Path, mark: Path, plant: Callable[..., Path], torch_format: bool
) -> None:
    train(work)
    trained, cache = work / "trained", work / "cache"
    folders = [trained, *trained.rglob("*"), cache, *cache.rglob("*"), *(work / "model").rglob("*")]
    for folder in [folder for folder in folders if folder.is_dir()]:
        for name in NAMES:
            plant(folder / name, torch_format)
    train(work, "steps=2")
    assert (trained / "step-2" / "complete").is_file()
    assert not mark.exists()


@pytest.mark.parametrize("torch_format", [True, False])
def test_a_pickle_in_the_place_of_a_shard_is_never_run(
    work: Path, mark: Path, plant: Callable[..., Path], torch_format: bool
) -> None:
    train(work)
    shard = plant(next((work / "cache").glob("latents-*/shard-00000.safetensors")), torch_format)
    line = f"{hashlib.sha256(shard.read_bytes()).hexdigest()}  {shard.name}\n"
    shard.with_suffix(".sha256").write_text(line)
    train(work, "steps=2")  # makes it again
    assert not mark.exists()


@pytest.mark.parametrize("torch_format", [True, False])
@pytest.mark.parametrize("ending", ["ckpt", "pt", "pth", "bin", "safetensors"])
def test_a_pickle_given_as_weights_is_never_run(
    work: Path, mark: Path, plant: Callable[..., Path], ending: str, torch_format: bool
) -> None:
    file = plant(work / f"layout_adapter.{ending}", torch_format)
    for change in (f"adapter={file}", f"unet={file}"):
        with pytest.raises(WeightsError, match=r"damaged|tensors only"):
            train(work, change)
    with pytest.raises(WeightsError, match=r"damaged|tensors only"):
        convert_adapter(file, work / "out.safetensors")
    assert not mark.exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pickle_in_the_place_of_a_models_weights_is_never_run(
    work: Path, mark: Path, plant: Callable[..., Path], part: str
) -> None:
    weights = next((work / "model" / part).glob("*.safetensors"))
    plant(weights.with_suffix(".bin"))
    plant(weights)
    with pytest.raises(WeightsError):
        train(work)
    weights.unlink()
    with pytest.raises(WeightsError):
        train(work)
    assert not mark.exists()


def test_a_pickle_in_the_place_of_an_example_is_never_run(
    work: Path, mark: Path, plant: Callable[..., Path]
) -> None:
    scenes = work / "scenes"
    plant(scenes / "0.png", torch_format=False)
    plant(scenes / "1-depth.png", torch_format=False)
    np.save(scenes / "objects.npy", np.array([Harm(mark)], dtype=object), allow_pickle=True)
    lines = [json.loads(line) for line in (scenes / "examples.jsonl").read_text().splitlines()]
    lines.append({**lines[0], "name": "2", "image": "1.png", "depth": "objects.npy"})
    (scenes / "examples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ThreeDISError, match="3 of 3 examples"):
        train(work)
    assert not mark.exists()
