"""One vocabulary for every training."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

import threedis_train
from threedis_train.settings import TrainingSettings, ValidationSettings


def test_every_setting_is_described() -> None:
    for model in (TrainingSettings, ValidationSettings):
        assert all(field.description for field in model.model_fields.values())


def test_settings_are_bounded_and_unknown_ones_are_refused() -> None:
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"ema": 1.0}, {"seed": -1}, {"lr": 1.0}):
        told = {"steps": 1, "batch_size": 1, "learning_rate": 0.1, **wrong}
        with pytest.raises(ValidationError):
            TrainingSettings.model_validate(told)


def test_the_facts_of_settings_that_were_extended_are_those_of_the_training_alone() -> None:
    class Extended(TrainingSettings):
        steps: int = 7
        task: str = Field("lines")

    facts = Extended(batch_size=2, learning_rate=0.1).facts()
    assert facts == TrainingSettings(steps=7, batch_size=2, learning_rate=0.1).facts()
    assert facts["validation"] == {"every": None}


def test_the_training_library_knows_no_stage_and_no_plugin() -> None:
    for file in Path(threedis_train.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            own = {name.split(".")[0] for name in names if name and name.startswith("threedis")}
            assert own <= {"threedis_core", "threedis_diffusers", "threedis_train"}, file
