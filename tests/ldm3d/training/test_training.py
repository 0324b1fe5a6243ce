"""The training command on a tiny random model: both stages, for real."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from threedis_core.cli import main
from threedis_core.errors import DataError, OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout
from threedis_ldm3d.checkpoint import load_adapter
from threedis_ldm3d.checks import find_model
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.example import Example
from threedis_ldm3d.training.folder_data import EXAMPLES, example_line
from threedis_ldm3d.training.train import ADAPTER_FILE, train_layout_depth
from threedis_train.log import read_log

COUNT = 10
SETTINGS: dict[str, Any] = {
    "data": {"format": "folder", "path": "scenes"},
    "depth_estimator": None,
    "unet": None,
    "cache": "cache",
    "size": 32,
    "steps": 6,
    "batch_size": 2,
    "accumulation": 2,
    "learning_rate": 0.01,
    "warmup": 2,
    "box_width": 16,
    "checkpoint_every": 2,
    "log_every": 1,
    "validation": {"every": 3, "examples": 2, "pictures": 2, "steps": 2},
    "out": "trained",
}


class KilledError(Exception):
    """Ends a training as a kill does, between two steps."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A folder with examples and a config."""
    folder = tmp_path_factory.mktemp("work")
    write_examples(folder / "scenes")
    write_config(folder / "config.yaml", model=str(model_folder))
    return folder


def write_examples(
    folder: Path,
    prompt: str = "a red cube",
    boxed: Callable[[int], bool] = lambda number: True,
    crowd: int = 1,
) -> None:
    """Boxes of light on a dark floor: what is in a box is near."""
    (folder / "images").mkdir(parents=True)
    rng = torch.Generator().manual_seed(0)
    lines = []
    for number in range(COUNT):
        corner = (torch.rand(2, generator=rng) * 0.5).tolist()
        box = Box.from_xyxy((*corner, corner[0] + 0.4, corner[1] + 0.4))
        depth = torch.zeros(32, 32)
        x, y = (int(32 * side) for side in corner)
        depth[y : y + 12, x : x + 12] = 0.8
        image, near = folder / "images" / f"{number}.png", folder / f"{number}-depth.png"
        Image.fromarray((depth * 255).byte().numpy()).convert("RGB").save(image)
        DepthMap(depth.numpy()).save(near)
        cubes = (Instance(prompt=prompt, label="cube", box=box),) * (crowd if boxed(number) else 0)
        layout = Layout(prompt=prompt, instances=cubes)
        lines.append(example_line(Example(str(number), image, near, layout), folder))
    (folder / EXAMPLES).write_text("".join(lines))


def write_config(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**SETTINGS, **changes}))


def train(work: Path, *changes: str, progress: Progress = silent) -> Path:
    return train_layout_depth(
        TrainingConfig.load(work / "config.yaml", changes), load_plugins(), progress
    )


def losses(folder: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in read_log(folder) if "loss" in row]


def header(file: Path) -> dict[str, Any]:
    """How the weights in ``file`` were made."""
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["training"])


@pytest.fixture(scope="module")
def adapter_file(work: Path) -> Path:
    return train(work, "out=whole")


def test_the_adapter_is_trained_and_nothing_else(
    work: Path, model_folder: Path, adapter_file: Path
) -> None:
    options = LDM3DOptions(
        model=str(model_folder), unet=None, adapter=str(adapter_file), device="cpu"
    )
    loaded = find_model(options).load()
    assert loaded.adapter is not None
    gates = [p for name, p in loaded.adapter.named_parameters() if name.endswith(".gate")]
    assert all(float(gate.abs()) > 0 for gate in gates)
    trained = load_file(adapter_file.parent / "step-6" / "model.safetensors")
    assert all(name.startswith("adapter.") for name in trained)


def test_a_training_leaves_pictures_curves_a_report_and_how_it_was_made(adapter_file: Path) -> None:
    out = adapter_file.parent
    for picture in ("loss.png", "validation/step-000003.png", "validation/step-000006.png"):
        with Image.open(out / picture) as opened:
            assert len(np.unique(np.asarray(opened))) > 10
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))
    assert json.loads((out / "bad-data.json").read_text())["examples"] == COUNT
    rows = read_log(out)
    assert [row["step"] for row in rows if "validation_loss" in row] == [3, 6]
    made = header(adapter_file)
    assert (made["steps"], made["train"], made["timesteps"]) == (6, "adapter", [500, 999])


def test_a_training_that_goes_on_after_a_kill_has_the_unbroken_losses_and_weights(
    work: Path, adapter_file: Path
) -> None:
    def kill(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train(work, "out=broken", progress=kill)
    assert len(losses(work / "broken")) == 5
    again: list[int] = []
    resumed = train(work, "out=broken", progress=lambda stage, done, _: again.append(done) or None)
    assert 4 not in again[1:]
    assert again[-2:] == [5, 6]
    whole, broken = losses(adapter_file.parent), losses(work / "broken")
    assert [step for step, _ in broken] == [step for step, _ in whole]
    for (_, one), (_, other) in zip(whole, broken, strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    one, other = load_file(adapter_file), load_file(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_process_that_is_really_killed_goes_on_likewise(work: Path) -> None:
    command = [sys.executable, "-m", "threedis_core.cli", "train", "layout-depth"]
    changes = ["--set", "out=killed", "--set", "steps=500", "--threads", "1"]
    process = subprocess.Popen(
        [*command, str(work / "config.yaml"), *changes], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not any((work / "killed").glob("step-*/complete")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = losses(work / "killed")[-1][0]
    steps = int(reached) + 4
    train(work, "out=killed", f"steps={steps}")
    whole = losses(train(work, "out=unbroken", f"steps={steps}").parent)
    assert len(whole) == steps
    for (_, one), (_, other) in zip(whole, losses(work / "killed"), strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_the_unet_is_trained_to_make_depth_from_text(work: Path, model_folder: Path) -> None:
    file = train(work, "train=unet", "out=unet", "steps=20", "learning_rate=0.003", "warmup=0")
    options = LDM3DOptions(model=str(model_folder), unet=str(file), adapter=None, device="cpu")
    trained = find_model(options).load().pipeline.unet.state_dict()
    own = find_model(options.model_copy(update={"unet": None})).load().pipeline.unet.state_dict()
    assert all(not torch.equal(trained[name], own[name]) for name in own if "weight" in name)
    measured = [row["validation_loss"] for row in read_log(work / "unet") if len(row) == 3]
    assert measured[-1] < measured[0]


def test_an_adapter_can_be_trained_further(work: Path, adapter_file: Path) -> None:
    file = train(work, f"adapter={adapter_file}", "out=further", "steps=1", "learning_rate=1e-9")
    before, after = load_file(adapter_file), load_file(file)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_the_header_says_the_width_that_the_weights_have(work: Path, adapter_file: Path) -> None:
    file = train(work, f"adapter={adapter_file}", "box_width=512", "out=wide", "steps=1")
    made = header(file)
    assert made["box_width"] == 16
    assert (made["learning_rate"], made["batch_size"]) == (0.01, 2)
    whole = header(adapter_file)
    assert whole["box_width"] == 16
    assert "adapter_weights" in made
    assert "adapter_weights" not in whole  # the seed made it


def test_going_on_from_another_adapter_of_the_same_name_is_refused(
    work: Path, adapter_file: Path, tmp_path: Path
) -> None:
    for name, factor in (("same", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        weights = {key: value * factor for key, value in load_file(adapter_file).items()}
        save_file(weights, tmp_path / name / adapter_file.name)
    settings = ("out=from", "steps=1", "validation.pictures=0")
    train(work, f"adapter={tmp_path / 'same' / adapter_file.name}", *settings)
    train(work, f"adapter={adapter_file}", *settings)
    with pytest.raises(OptionError, match="adapter_weights"):
        train(work, f"adapter={tmp_path / 'other' / adapter_file.name}", *settings)


def test_bfloat16_trains_too(work: Path) -> None:
    file = train(work, "precision=bf16", "out=half", "steps=2")
    assert all(weight.dtype == torch.float32 for weight in load_file(file).values())
    assert len(losses(file.parent)) == 2


def test_going_on_with_another_setting_is_refused(work: Path, adapter_file: Path) -> None:
    with pytest.raises(OptionError, match=r"pyramid_noise 0\.3 -> 0\.1"):
        train(work, "out=whole", "pyramid_noise=0.1")


def test_going_on_with_another_unet_or_other_layouts_is_refused(
    work: Path, model_folder: Path, adapter_file: Path, tmp_path: Path
) -> None:
    options = LDM3DOptions(model=str(model_folder), unet=None, adapter=None, device="cpu")
    halved = find_model(options).load().pipeline.unet.state_dict()
    save_file({name: weight / 2 for name, weight in halved.items()}, tmp_path / "unet.safetensors")
    with pytest.raises(OptionError, match="weights"):
        train(work, "out=whole", f"unet={tmp_path / 'unet.safetensors'}")
    write_examples(tmp_path / "scenes", prompt="a blue cube")
    with pytest.raises(OptionError, match="examples"):
        train(work, "out=whole", f"data.path={tmp_path / 'scenes'}")


def test_examples_without_boxes_do_not_train_the_adapter(
    model_folder: Path, tmp_path: Path
) -> None:
    write_examples(tmp_path / "scenes", boxed=lambda number: number % 2 == 0)
    write_config(tmp_path / "config.yaml", model=str(model_folder))
    assert train(tmp_path, "batch_size=1", "steps=8").is_file()
    with pytest.raises(DataError, match=r"5 examples with instances can be used.*is 5"):
        train(tmp_path, "out=none", "validation.examples=5")


def test_a_crowded_layout_that_is_held_out_is_drawn(model_folder: Path, tmp_path: Path) -> None:
    write_examples(tmp_path / "scenes", crowd=31)
    write_config(tmp_path / "config.yaml", model=str(model_folder))
    train(tmp_path, "steps=1")
    assert (tmp_path / "trained" / "validation" / "step-000001.png").is_file()


def test_pictures_of_validations_take_their_places_at_once(work: Path) -> None:
    picture = work / "drawn" / "validation" / "step-000001.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"before")
    with picture.open("rb") as before:
        train(work, "out=drawn", "steps=1")
        assert before.read() == b"before"  # what is written in place would show here
    with Image.open(picture) as opened:
        opened.load()
    assert list(picture.parent.iterdir()) == [picture]


def test_going_on_with_another_learning_rate_is_refused_by_its_name(
    work: Path, adapter_file: Path
) -> None:
    with pytest.raises(OptionError, match=r"\(learning_rate 0\.01 -> 0\.02\)"):
        train(work, "out=whole", "learning_rate=0.02")


def test_two_trainings_do_not_share_a_folder(work: Path) -> None:
    (work / "busy").mkdir()
    with (
        FileLock(work / "busy" / ".lock"),
        pytest.raises(OptionError, match="another training is at work"),
    ):
        train(work, "out=busy", "steps=1")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_fp16_is_refused_on_a_cpu_before_anything_loads(work: Path) -> None:
    with pytest.raises(OptionError, match="fp16, which needs a GPU"):
        train(work, "precision=fp16", "model=/nowhere", "out=fp16")
    assert not (work / "fp16").exists()


def test_a_longer_training_goes_on(work: Path) -> None:
    train(work, "out=longer", "steps=2")
    again: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "train":
            again.append(done)

    train(work, "out=longer", "steps=3", progress=progress)
    assert again == [3]
    assert [step for step, _ in losses(work / "longer")] == [1, 2, 3]
    with pytest.raises(OptionError, match="3 steps already"):
        train(work, "out=longer", "steps=1")


def test_too_much_bad_data_ends_the_training_with_a_report(
    work: Path, model_folder: Path, tmp_path: Path
) -> None:
    write_examples(tmp_path / "scenes")
    for number in (1, 2):
        (tmp_path / "scenes" / f"{number}-depth.png").write_bytes(b"\x89PNG broken")
    write_config(tmp_path / "config.yaml", model=str(model_folder))
    with pytest.raises(DataError, match=r"bad-data\.json"):
        train(tmp_path)
    report = json.loads((tmp_path / "trained" / "bad-data.json").read_text())
    assert report["bad"] == 2
    assert train(tmp_path, "most_bad=0.2", "steps=1").is_file()


def test_examples_without_depth_need_an_estimator(
    work: Path, model_folder: Path, tmp_path: Path
) -> None:
    write_examples(tmp_path / "scenes")
    lines = (tmp_path / "scenes" / EXAMPLES).read_text().splitlines()
    without = [json.dumps({**json.loads(line), "depth": None}) for line in lines]
    (tmp_path / "scenes" / EXAMPLES).write_text("\n".join(without))
    write_config(tmp_path / "config.yaml", model=str(model_folder))
    with pytest.raises(OptionError, match="depth_estimator"):
        train(tmp_path)


def test_a_narrow_box_encoder_is_read_back(adapter_file: Path, model_folder: Path) -> None:
    options = LDM3DOptions(model=str(model_folder), unet=None, adapter=None, device="cpu")
    adapter = load_adapter(adapter_file, find_model(options).load().pipeline.unet)
    layer = next(iter(adapter.layers.values()))
    assert layer.box_encoder.network[0].out_features == 16


def train_in_two(work: Path, *changes: str) -> str:
    """Train by the command with two processes; what it prints."""
    command = [sys.executable, "-m", "threedis_core.cli", "train", "layout-depth"]
    told = [part for change in ("cache=cache-of-two", *changes) for part in ("--set", change)]
    done = subprocess.run(
        [*command, str(work / "config.yaml"), *told, "--processes", "2", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_command_trains_with_two_processes_and_prints_the_file_once(work: Path) -> None:
    printed = train_in_two(work, "out=two", "steps=2")
    assert printed.split() == [str(work / "two" / "layout_adapter.safetensors")]
    assert [step for step, _ in losses(work / "two")] == [1, 2]
    assert json.loads((work / "two" / "settings.json").read_text())["processes"] == 2


def test_a_training_of_two_processes_goes_on_with_the_unbroken_weights(work: Path) -> None:
    train_in_two(work, "out=two-broken", "steps=1")
    train_in_two(work, "out=two-broken", "steps=3")
    train_in_two(work, "out=two-whole", "steps=3")
    assert losses(work / "two-broken") == losses(work / "two-whole")
    one, other = (load_file(work / out / ADAPTER_FILE) for out in ("two-broken", "two-whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_bad_data_is_told_on_the_command_line(work: Path, tmp_path: Path, capsys: Any) -> None:
    write_examples(tmp_path / "scenes")
    (tmp_path / "scenes" / "3-depth.png").write_bytes(b"broken")
    write_config(tmp_path / "config.yaml", **yaml.safe_load((work / "config.yaml").read_text()))
    changes = ["--set", "most_bad=0.5", "--set", "steps=1"]
    with pytest.raises(SystemExit) as end:
        main(["train", "layout-depth", str(tmp_path / "config.yaml"), *changes])
    assert not end.value.code
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "trained" / "layout_adapter.safetensors")
    assert "1 of 10 examples cannot be used" in told.err
