"""Missing and wrong models are refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import threedis_sd.backend
from threedis_core.errors import WeightsError
from threedis_core.interfaces import RenderRequest
from threedis_sd.sd15 import SD15Options, SD15Renderer

Request = Callable[..., RenderRequest]


@pytest.fixture
def model(pipeline_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return shutil.copytree(pipeline_folder, tmp_path / "model")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(threedis_sd.backend, "load_pipeline", load)


def refusal(make_request: Request, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        SD15Renderer(SD15Options(steps=1, **options)).render([make_request()])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("loads_nothing")
def test_a_folder_that_is_not_there_is_named(make_request: Request) -> None:
    assert "'/no/such/model' is not there" in refusal(make_request, model="/no/such/model")


@pytest.mark.usefixtures("loads_nothing")
def test_offline_the_wanted_file_and_repository_are_named(make_request: Request) -> None:
    message = refusal(make_request)
    assert "model_index.json" in message
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5" in message


@pytest.mark.usefixtures("loads_nothing")
def test_a_missing_controlnet_is_named_before_the_model_is_loaded(
    make_request: Request, model: Path
) -> None:
    shutil.rmtree(model / "controlnet")
    message = refusal(make_request, model=str(model))
    assert "config.json" in message
    assert "hf download lllyasviel/control_v11f1p_sd15_depth" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "controlnet"])
def test_a_torch_pickle_is_not_taken_for_weights(
    make_request: Request, model: Path, part: str
) -> None:
    weights = next((model / part).glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    message = refusal(make_request, model=str(model))
    assert f"{part}/{weights.name}" in message
    assert "pickle" in message


@pytest.mark.usefixtures("loads_nothing")
def test_another_kind_of_pipeline_is_refused(make_request: Request, model: Path) -> None:
    index = model / "model_index.json"
    facts = json.loads(index.read_text("utf-8"))
    index.write_text(json.dumps({**facts, "_class_name": "FluxPipeline"}), "utf-8")
    assert "is a 'FluxPipeline'" in refusal(make_request, model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_a_controlnet_of_another_base_model_is_refused(make_request: Request, model: Path) -> None:
    config = model / "controlnet" / "config.json"
    facts = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**facts, "cross_attention_dim": 1024}), "utf-8")
    assert "cross_attention_dim 1024" in refusal(make_request, model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_a_broken_index_is_named(make_request: Request, model: Path) -> None:
    (model / "model_index.json").write_text("{", "utf-8")
    assert "model_index.json cannot be read as JSON" in refusal(make_request, model=str(model))


def test_damaged_weights_are_named(make_request: Request, model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot be loaded" in refusal(make_request, model=str(model))


def test_a_lora_that_is_not_there_is_named(make_request: Request, pipeline_folder: Path) -> None:
    lora = {"path": "/no/such/style.safetensors"}
    message = refusal(make_request, model=str(pipeline_folder), loras=[lora])
    assert "'/no/such/style.safetensors' is not there" in message


def test_the_size_of_a_local_model_is_known_without_loading_it(pipeline_folder: Path) -> None:
    capabilities = SD15Renderer(SD15Options(model=str(pipeline_folder))).capabilities
    assert capabilities.default_size == (128, 128)
    assert capabilities.size_multiple == 8


def test_the_default_model_is_512_pixels_wide() -> None:
    assert SD15Renderer(SD15Options()).capabilities.default_size == (512, 512)


def test_weights_saved_as_a_variant_are_found(make_request: Request, model: Path) -> None:
    for part in ("unet", "vae", "text_encoder", "controlnet"):
        weights = next((model / part).glob("*.safetensors"))
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    renderer = SD15Renderer(SD15Options(model=str(model), steps=1))
    assert renderer.render([make_request()])[0].image.size == (128, 128)
