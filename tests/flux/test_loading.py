"""Missing and wrong models are refused before anything is loaded; every form of a model loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxControlPipeline, FluxPipeline, FluxTransformer2DModel

import threedis_diffusers.joint.loading
from threedis_core.errors import ThreeDISError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

Request = Callable[..., RenderRequest]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
SMALL: dict[str, Any] = {"steps": 2, "tokens_per_prompt": 12}


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

    monkeypatch.setattr(threedis_diffusers.joint.loading, "load_pipeline", load)


def refusal(kind: type[ThreeDISError] = WeightsError, **options: Any) -> str:
    """What is said where a run asks all its renderers, before anything is done."""
    with pytest.raises(kind) as caught:
        FluxRenderer(FluxOptions(**{**SMALL, **options})).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("loads_nothing")
def test_offline_the_wanted_file_and_repository_are_named() -> None:
    message = refusal()
    assert "model_index.json" in message
    assert "hf download black-forest-labs/FLUX.1-Depth-dev" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "text_encoder_2"])
@pytest.mark.parametrize("file", ["config.json", "*.safetensors"])
def test_a_missing_file_is_named(part: str, file: str, model: Path) -> None:
    missing = next((model / part).glob(file))
    missing.unlink()
    assert f"'{part}/{missing.name}'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("part", "wanted"), [("tokenizer", "vocab.json"), ("tokenizer_2", "spiece.model")]
)
def test_a_tokenizer_without_its_words_is_named(part: str, wanted: str, model: Path) -> None:
    for words in ("tokenizer.json", "vocab.json", "merges.txt"):
        (model / part / words).unlink(missing_ok=True)
    assert f"'{part}/{wanted}'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_another_kind_of_pipeline_is_refused(model: Path) -> None:
    change(model / "model_index.json", _class_name="StableDiffusionPipeline")
    assert "is a 'StableDiffusionPipeline'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_a_base_model_without_a_way_in_for_depth_is_refused(model: Path) -> None:
    change(model / "transformer" / "config.json", in_channels=8)
    message = refusal(model=str(model))
    assert "no channels for depth" in message
    assert "depth_lora" in message


@pytest.mark.usefixtures("loads_nothing")
def test_a_depth_lora_on_a_depth_model_is_refused(model: Path) -> None:
    message = refusal(model=str(model), depth_lora="owner/lora")
    assert "takes depth already" in message


def test_damaged_weights_are_named(make_request: Request, model: Path) -> None:
    weights = next((model / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    renderer = FluxRenderer(FluxOptions(model=str(model), **SMALL))
    renderer.check()  # which reads no weights
    with pytest.raises(WeightsError, match="cannot be loaded"):
        renderer.render([make_request()])


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **values}), "utf-8")


def test_fused_projections_give_nearly_the_same_picture(
    make_request: Request, pipeline_folder: Path, renderer: FluxRenderer
) -> None:
    request = make_request(CAT)
    fused = FluxRenderer(renderer.options.model_copy(update={"fuse_qkv": True}))
    assert hasattr(fused.load().pipeline.transformer.transformer_blocks[0].attn, "to_qkv")
    pictures = [np.asarray(one.render([request])[0].image).astype(int) for one in (fused, renderer)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


@pytest.fixture
def base_model(pipeline_folder: Path, tmp_path: Path) -> Path:
    """A tiny FLUX.1 without depth, as its own pipeline class."""
    parts = FluxControlPipeline.from_pretrained(pipeline_folder).components
    torch.manual_seed(0)
    parts["transformer"] = tiny_transformer(in_channels=8)
    FluxPipeline(**parts).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def tiny_transformer(in_channels: int) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=in_channels,
        out_channels=8,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ).eval()


@pytest.fixture
def depth_lora(tmp_path: Path) -> Path:
    """A LoRA that gives a tiny FLUX.1 the channels for depth."""
    peft = pytest.importorskip("peft")
    transformer = tiny_transformer(in_channels=16)
    targets = ["x_embedder", "attn.to_q", "attn.to_k"]
    transformer.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=targets))
    torch.manual_seed(1)
    state = peft.get_peft_model_state_dict(transformer)
    state = {name: 0.3 * torch.randn_like(weight) for name, weight in state.items()}
    FluxControlPipeline.save_lora_weights(tmp_path / "lora", state)
    return tmp_path / "lora"


def test_a_base_model_with_a_depth_lora_follows_the_depth(
    make_request: Request, base_model: Path, depth_lora: Path
) -> None:
    options = FluxOptions(model=str(base_model), depth_lora=str(depth_lora), **SMALL)
    renderer = FluxRenderer(options)
    here, there = make_request(CAT), make_request((CAT[0], (0.5, 0.5, 0.9, 0.9)))
    object.__setattr__(there, "layout", here.layout)
    object.__setattr__(there, "regions", here.regions)
    first, other = (np.asarray(result.image) for result in renderer.render([here, there]))
    assert not np.array_equal(first, other)
