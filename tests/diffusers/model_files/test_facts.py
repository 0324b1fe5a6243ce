"""What a local model's files tell of its sizes."""

from __future__ import annotations

import json
from pathlib import Path

from threedis_diffusers.model_files.facts import ModelFacts, model_facts
from threedis_diffusers.model_files.sources import ModelSource


def model(folder: Path, vae: dict[str, object], unet: dict[str, object]) -> ModelSource:
    for part, config in (("vae", vae), ("unet", unet)):
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config), "utf-8")
    return ModelSource(str(folder))


def test_the_side_is_the_latent_one_times_the_vaes_factor(tmp_path: Path) -> None:
    source = model(tmp_path, {"block_out_channels": [8, 8, 8]}, {"sample_size": 24})
    assert model_facts(source) == ModelFacts(vae_factor=4, side=96)


def test_files_that_do_not_tell_leave_the_usual(tmp_path: Path) -> None:
    source = model(tmp_path, {}, {"sample_size": [24, 32]})
    assert model_facts(source) == ModelFacts(vae_factor=8, side=None)


def test_of_a_model_that_is_no_local_folder_the_usual_is_assumed() -> None:
    assert model_facts(ModelSource("owner/name")) == ModelFacts()
