"""The doctor knows depth models, region refiners and depth estimators, not only renderers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threedis_core.cli.app import main
from threedis_core.doctor import SECTIONS, examine, first_obstacle
from threedis_core.plugin.discovery import load_plugins
from threedis_core.run.config import RunConfig
from threedis_pocket import WEIGHTS

Threedis = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def threedis(capsys: pytest.CaptureFixture[str]) -> Threedis:
    """The command line: its exit status, and what it prints."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return call


def examined(estimators: tuple[str, ...] = (), **asked: Any) -> dict[str, Any]:
    report = examine(RunConfig.model_validate(asked), load_plugins(), estimators)
    return {one.name: one for one in report.examined}


def test_a_config_without_a_renderer_is_examined_for_what_it_names() -> None:
    found = examined(depth_model="ldm3d", region_refiner="sam")
    assert {name: one.kind for name, one in found.items()} == {
        "ldm3d": "depth model",
        "sam": "region refiner",
    }
    missing = {path for _, path in found["ldm3d"].inspection.missing()}
    assert {"unet_0901.ckpt", "layout_adapter.ckpt", "unet/config.json"} <= missing
    assert "unet/diffusion_pytorch_model.safetensors" not in missing  # which is replaced
    assert {path for _, path in found["sam"].inspection.missing()} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    assert "depth model 'ldm3d' is not ready" in str(first_obstacle(found["ldm3d"]))
    assert found["ldm3d"].inspection.memory


def test_estimators_are_examined_by_name() -> None:
    found = examined(estimators=("depth-anything", "dpt", "midas"))
    assert [one.kind for one in found.values()] == ["depth estimator"] * 3
    for name in ("depth-anything", "dpt"):
        inspection = found[name].inspection
        assert (len(list(inspection.missing())), inspection.problems) == (3, ())
        assert inspection.commands
    assert found["midas"].inspection.parts[0].missing == ("dpt_hybrid-midas-501f0c75.pt",)


def test_where_nothing_is_named_everything_is_examined() -> None:
    registry = load_plugins()
    report = examine(RunConfig(), registry)
    for kind, key in SECTIONS.items():
        assert tuple(one.name for one in report.of(kind)) == registry.names(kind)
        assert len(report.document()[key]) == len(registry.names(kind))
    ready = {one.name for one in report.examined if one.inspection.ready}
    assert {"pocket-depth", "pocket-scene", "boxes", "depth-edges", "pocket-sd15"} <= ready


def test_a_depth_model_whose_files_are_there_is_ready_and_says_its_memory() -> None:
    inspection = examined(depth_model="pocket-depth")["pocket-depth"].inspection
    assert (inspection.ready, inspection.commands) == (True, ())
    parts = {part.name for part in inspection.parts}
    assert {"unet", "vae", "adapter", "text_encoder"} <= parts
    assert inspection.memory[0].main > 0


def test_what_is_damaged_or_of_another_kind_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "sam"
    folder.mkdir()
    for name, content in {
        "config.json": {"model_type": "dpt"},
        "preprocessor_config.json": {},
    }.items():
        (folder / name).write_text(json.dumps(content))
    shutil.copy(
        next((WEIGHTS / "pocket-sd15" / "vae").glob("*.safetensors")), folder / "model.safetensors"
    )
    refiner = {"name": "sam", "options": {"model": str(folder)}}
    (one,) = examined(region_refiner=refiner).values()
    assert "of type 'dpt'; expected 'sam'" in str(first_obstacle(one))


def test_the_command_names_each_kind_and_ends_with_what_is_not_there(threedis: Threedis) -> None:
    code, out, err = threedis("doctor", "--depth-model", "pocket-depth", "--estimator", "dpt")
    assert code == 1
    assert "Depth model" in out
    assert "Depth estimator" in out
    assert "Renderer " not in out
    assert "depth estimator 'dpt' is not ready" in err
    assert threedis("doctor", "--depth-model", "pocket-depth")[0] == 0
    assert threedis("doctor", "--estimator", "dtp")[0] == 2
