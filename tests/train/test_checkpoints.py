"""Checkpoints: what is taken over, what is refused, and that nothing in them runs."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from threedis_core.errors import RenderError, WeightsError
from threedis_train.checkpoints import FILES, TrainingState, newest_checkpoint
from threedis_train.engine import Task, fit
from threedis_train.settings import TrainingSettings

MakeTask = Callable[..., Task]
PICKLES = (
    *(
        f"{name}{number}.bin"
        for name in ("pytorch_model", "optimizer", "scheduler", "sampler")
        for number in ("", "_1")
    ),
    *(f"custom_checkpoint_{number}.pkl" for number in range(3)),
    *(f"random_states_{number}.pkl" for number in range(2)),
    *("scaler.pt", "model.bin", "model.pt", "model.pkl", "ema.bin", "ema.pt", "optimizer.pt"),
    *("state.pkl", "state.pt", "dl_state_dict.bin", "training_args.bin", "complete.pkl"),
)
"""Names under which accelerate, diffusers, transformers and others keep pickles."""


class Harm:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def trained(make_task: MakeTask, settings: TrainingSettings, tmp_path: Path) -> Path:
    """The folder of a training that can go on."""
    settings = settings.model_copy(update={"schedule": "constant"})
    fit(make_task(), settings, tmp_path / "trained")
    return tmp_path / "trained"


@pytest.fixture
def go_on(make_task: MakeTask, settings: TrainingSettings, trained: Path) -> Callable[..., Task]:
    """Take two steps more."""
    longer = settings.model_copy(update={"schedule": "constant", "steps": 8})
    return lambda **of_task: fit(make_task(**of_task), longer, trained)


def list_anew(checkpoint: Path) -> None:
    """Write the list of a checkpoint that somebody has changed, as an attacker would."""
    lines = [f"{hashlib.sha256((checkpoint / n).read_bytes()).hexdigest()}  {n}" for n in FILES]
    (checkpoint / "complete").write_text("\n".join(lines) + "\n")


def refusal(go_on: Callable[..., Task], **of_task: int) -> str:
    with pytest.raises(WeightsError) as caught:
        go_on(**of_task)
    assert "\n" not in str(caught.value)
    assert "Delete this folder" in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_is_safetensors_and_json_with_checksums(trained: Path) -> None:
    checkpoint = trained / "step-6"
    assert newest_checkpoint(trained) == checkpoint
    assert {file.name for file in checkpoint.iterdir()} == {*FILES, "complete"}
    assert load_file(checkpoint / "model.safetensors").keys() == {
        *("first.weight", "first.bias", "tied.bias", "frozen.weight", "frozen.bias"),
        *("unused", "seen"),
    }
    assert "exp_avg/first.weight" in load_file(checkpoint / "optimizer.safetensors")
    assert json.loads((checkpoint / "state.json").read_text()) == {"updates": 6, "scaler": None}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "complete"], cwd=checkpoint, check=True)


def test_pickles_under_every_name_are_never_run(
    trained: Path, go_on: Callable[..., Task], tmp_path: Path
) -> None:
    mark = tmp_path / "harmed"
    for folder in (trained, trained / "step-6", trained / "step-99"):
        folder.mkdir(exist_ok=True)
        for name in PICKLES:
            with (folder / name).open("wb") as file:
                pickle.dump(Harm(mark), file)
    torch.save({"state": Harm(mark)}, trained / "step-6" / "custom_checkpoint_0.pkl")
    go_on()
    assert not mark.exists()
    assert newest_checkpoint(trained) == trained / "step-8"
    assert (trained / "scaler.pt").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
@pytest.mark.parametrize("name", FILES)
def test_pickles_in_the_place_of_listed_files_are_never_run(
    trained: Path, go_on: Callable[..., Task], tmp_path: Path, name: str, kind: str
) -> None:
    mark, file = tmp_path / "harmed", trained / "step-6" / name
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Harm(mark)))
    else:
        torch.save({"a": Harm(mark)}, file, _use_new_zipfile_serialization=kind == "torch")
    assert f"{name} is damaged" in refusal(go_on)
    list_anew(trained / "step-6")
    assert "damaged" in refusal(go_on)
    assert not mark.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named(
    trained: Path, go_on: Callable[..., Task], name: str
) -> None:
    file = trained / "step-6" / name
    spoilt = bytearray(file.read_bytes())
    spoilt[-2] ^= 1
    file.write_bytes(spoilt)
    assert f"{name} is damaged, its SHA-256" in refusal(go_on)
    file.unlink()
    assert f"{name} is missing" in refusal(go_on)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"0" * 64 + b"  model.safetensors\n", b"0  ../../passwd\n"]
)
def test_a_list_that_is_none_of_ours_is_refused(
    trained: Path, go_on: Callable[..., Task], content: bytes
) -> None:
    (trained / "step-6" / "complete").write_bytes(content)
    assert "'complete' is damaged or from another version" in refusal(go_on)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"updates": -1, "scaler": null}', b'{"updates": 6, "more": 1}', b"[" * 9999],
)
def test_wrong_numbers_are_refused_though_they_are_listed(
    trained: Path, go_on: Callable[..., Task], content: bytes
) -> None:
    (trained / "step-6" / "state.json").write_bytes(content)
    list_anew(trained / "step-6")
    assert "state.json is damaged" in refusal(go_on)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".safetensors")])
def test_tensors_of_another_model_are_refused_though_they_are_listed(
    trained: Path, go_on: Callable[..., Task], name: str
) -> None:
    file = trained / "step-6" / name
    weights = load_file(file)
    first = min(key for key in weights if "bias" in key)
    save_file({**weights, first: torch.zeros(99)}, file)
    list_anew(trained / "step-6")
    assert f"{first} has shape (99,), expected (3,)" in refusal(go_on)
    save_file({key: value for key, value in weights.items() if key != first}, file)
    list_anew(trained / "step-6")
    assert f"only one of the two has {first}" in refusal(go_on)


def test_a_checkpoint_of_another_model_is_refused(
    trained: Path, go_on: Callable[..., Task]
) -> None:
    assert "is of another model" in refusal(go_on, width=4)


def test_what_to_do_about_a_damaged_checkpoint_helps(
    trained: Path, go_on: Callable[..., Task]
) -> None:
    (trained / "step-6" / "model.safetensors").write_bytes(b"damaged")
    refusal(go_on)
    shutil.rmtree(trained / "step-6")
    go_on()
    assert newest_checkpoint(trained) == trained / "step-8"


def test_an_unfinished_checkpoint_does_not_count_and_is_written_again(
    trained: Path, go_on: Callable[..., Task]
) -> None:
    (trained / "step-8").mkdir()
    (trained / "step-8" / "model.safetensors").write_bytes(b"half")
    (trained / "step-8" / "optimizer.bin").write_bytes(b"")
    go_on()
    assert {file.name for file in (trained / "step-8").iterdir()} == {*FILES, "complete"}
    assert not (trained / "step-6").exists()


def test_what_only_sounds_like_a_checkpoint_is_left_alone(
    trained: Path, go_on: Callable[..., Task]
) -> None:
    for name in ("step-notes", "step--7", "step-7a"):
        (trained / name).mkdir()
        (trained / name / "complete").touch()
    (trained / "step-11").write_text("a file")
    go_on()
    assert {path.name for path in trained.glob("step-*")} == {
        *("step-notes", "step--7", "step-7a", "step-11", "step-8")
    }


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_keeps_the_one_before(
    trained: Path, go_on: Callable[..., Task]
) -> None:
    (trained / "step-8").write_text("in the way")
    with pytest.raises(RenderError, match="step-8: the checkpoint cannot be written"):
        go_on()
    assert newest_checkpoint(trained) == trained / "step-6"


def test_the_scale_of_fp16_and_the_updates_that_it_skipped_are_taken_over(
    make_task: MakeTask, tmp_path: Path
) -> None:
    def state() -> TrainingState:
        task = make_task()
        trained = [p for p in task.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, 0.1)
        schedule = get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=9)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
        return TrainingState(task, EMAModel(trained), optimizer, schedule, scaler)

    before, after = state(), state()
    for _ in range(5):
        before.optimizer.zero_grad()
        loss = before.module(**before.module.batch(2, torch.Generator().manual_seed(0)))
        before.scaler.scale(loss).backward()
        before.scaler.step(before.optimizer)
        before.scaler.update(2.0**20)
    for _ in range(3):  # the other two were skipped
        before.schedule.step()
        before.average.step(before.module.parameters())
    after.load(before.save(tmp_path, 5))
    assert after.scaler.state_dict() == before.scaler.state_dict()
    assert after.schedule.get_last_lr() == before.schedule.get_last_lr()
    assert after.schedule.state_dict() == before.schedule.state_dict()
    assert after.average.optimization_step == 3
    for one, other in zip(after.average.shadow_params, before.average.shadow_params, strict=True):
        assert torch.equal(one, other)
    without = TrainingState(
        after.module, after.average, after.optimizer, after.schedule, scaler=None
    )
    without.load(tmp_path / "step-5")  # for those who go on in 32 bits
