"""The training loop on a task of a few numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field

from threedis_core.errors import OptionError, RenderError
from threedis_core.plugin.progress import Progress, silent
from threedis_train.engine import Task, fit
from threedis_train.log import read_log
from threedis_train.settings import TrainingSettings, ValidationSettings

MakeTask = Callable[..., Task]


class KilledError(Exception):
    """Ends a training as a kill does, between two steps."""


def killed_after(steps: int) -> Progress:
    def progress(stage: str, done: int, total: int) -> None:
        if done == steps:
            raise KilledError

    return progress


def changed(settings: TrainingSettings, **changes: Any) -> TrainingSettings:
    return settings.model_copy(update=changes)


def assert_same(one: Task, other: Task) -> None:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    for (name, value), (_, wanted) in pairs:
        assert torch.equal(value, wanted), name


@pytest.mark.parametrize("kill", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_killed_after_any_step_it_goes_on_bit_for_bit(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path, kill: int, schedule: str
) -> None:
    settings = changed(settings, schedule=schedule, accumulation=2)
    whole = fit(make_task(), settings, tmp_path / "whole")
    with pytest.raises(KilledError):
        fit(make_task(), settings, tmp_path / "broken", killed_after(kill))
    again: list[int] = []
    resumed = fit(
        make_task(), settings, tmp_path / "broken", lambda _, done, total: again.append(done)
    )
    saved = (kill - 1) // 2 * 2  # progress is told before a checkpoint is written
    assert again == list(range(saved + 1, 7))
    assert_same(resumed, whole)
    rows, wanted = read_log(tmp_path / "broken"), read_log(tmp_path / "whole")
    for row, other in zip(rows, wanted, strict=True):
        assert {**row, "time": 0} == {**other, "time": 0}


def test_a_training_that_is_done_gives_its_weights_again_without_a_step(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path
) -> None:
    whole = fit(make_task(), settings, tmp_path)
    again: list[int] = []
    assert_same(fit(make_task(), settings, tmp_path, lambda *step: again.append(1)), whole)
    assert again == []


def test_settings_that_extend_those_of_trainings_are_taken_as_they_are(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path
) -> None:
    class Extended(TrainingSettings):
        task: str = Field("lines")

    fit(make_task(), Extended(**settings.model_dump()), tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept == {**settings.facts(), "processes": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.02}, r"learning_rate 0\.01 -> 0\.02"),
        ({"batch_size": 5}, "batch_size 4 -> 5"),
        ({"max_grad_norm": 2.0}, r"max_grad_norm 1\.0 -> 2\.0"),
        ({"steps": 7}, "steps 6 -> 7"),
    ],
)
def test_going_on_with_another_setting_is_refused_in_the_words_of_the_config(
    make_task: MakeTask,
    settings: TrainingSettings,
    tmp_path: Path,
    change: dict[str, Any],
    said: str,
) -> None:
    fit(make_task(), settings, tmp_path)
    with pytest.raises(OptionError, match=said):
        fit(make_task(), changed(settings, **change), tmp_path)


def test_settings_that_change_no_weight_may_change(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        fit(make_task(), settings, tmp_path, killed_after(3))
    validated: list[int] = []

    def validate(step: int) -> Mapping[str, float]:
        validated.append(step)
        return {"validation_loss": 1.0}

    other = changed(
        settings, checkpoint_every=5, log_every=2, validation=ValidationSettings(every=2)
    )
    fit(make_task(), other, tmp_path, silent, validate)
    assert validated == [4, 6]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"\x93\x00\xff", "is damaged"),
        (b'{"steps": ', "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b'["steps", 6]', "holds no JSON object"),
        (b"6", "holds no JSON object"),
    ],
)
def test_damaged_settings_are_one_line(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path, content: bytes, said: str
) -> None:
    fit(make_task(), settings, tmp_path)
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(OptionError, match=rf"settings\.json .*{said}.*another folder") as caught:
        fit(make_task(), settings, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_ends_the_training(
    make_task: MakeTask, settings: TrainingSettings, tmp_path: Path
) -> None:
    class Exploding(type(make_task())):
        def forward(self, **batch: Any) -> torch.Tensor:
            return super().forward(**batch) * float("inf")

    with pytest.raises(RenderError, match="the loss is inf at step 1; lower the learning rate"):
        fit(Exploding(), settings, tmp_path)
