"""Missing and wrong models are refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DConditionModel

import threedis_sd.loading
from threedis_core.errors import WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.model_files.single_file import SingleFile
from threedis_diffusers.parts.folder import PipelinePart
from threedis_sd.sd15 import SD15Options, SD15Renderer

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKED = """
import sys
from threedis_core.plugin.discovery import load_plugins
load_plugins().renderer("pocket-sd15").check()
print([name for name in sys.modules if name.startswith("diffusers.pipelines.")])
"""
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


def test_checking_the_files_imports_no_pipeline() -> None:
    command = [sys.executable, "-c", CHECKED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(threedis_sd.loading, "load_pipeline", load)
    monkeypatch.setattr(PipelinePart, "load", load)
    monkeypatch.setattr(SingleFile, "load", load)


def refusal(**options: Any) -> str:
    """What is said where a run asks all its renderers, before anything is done."""
    with pytest.raises(WeightsError) as caught:
        SD15Renderer(SD15Options(steps=1, **options)).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("loads_nothing")
def test_a_folder_that_is_not_there_is_named() -> None:
    assert "'/no/such/model' is not there" in refusal(model="/no/such/model")


@pytest.mark.usefixtures("loads_nothing")
def test_offline_the_wanted_file_and_repository_are_named() -> None:
    message = refusal()
    assert "model_index.json" in message
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5" in message


@pytest.mark.usefixtures("loads_nothing")
def test_a_missing_controlnet_is_named_before_the_model_is_loaded(model: Path) -> None:
    shutil.rmtree(model / "controlnet")
    message = refusal(model=str(model))
    assert "config.json" in message
    assert "hf download lllyasviel/control_v11f1p_sd15_depth" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "controlnet"])
def test_a_torch_pickle_is_not_taken_for_weights(model: Path, part: str) -> None:
    weights = next((model / part).glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    message = refusal(model=str(model))
    assert f"{part}/{weights.name}" in message
    assert "pickle" in message


@pytest.mark.usefixtures("loads_nothing")
def test_another_kind_of_pipeline_is_refused(model: Path) -> None:
    index = model / "model_index.json"
    facts = json.loads(index.read_text("utf-8"))
    index.write_text(json.dumps({**facts, "_class_name": "FluxPipeline"}), "utf-8")
    assert "is a 'FluxPipeline'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_a_controlnet_of_another_base_model_is_refused(model: Path) -> None:
    config = model / "controlnet" / "config.json"
    facts = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**facts, "cross_attention_dim": 1024}), "utf-8")
    assert "cross_attention_dim 1024" in refusal(model=str(model))


def set_entry(model: Path, part: str, entry: Any) -> None:
    index = model / "model_index.json"
    facts = json.loads(index.read_text("utf-8"))
    index.write_text(json.dumps({**facts, part: entry}), "utf-8")


def shard(model: Path) -> Path:
    """Save the U-Net in several files, and give one of them."""
    folder = model / "unet"
    unet = UNet2DConditionModel.from_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder, max_shard_size="100KB")
    return max(folder.glob("*-of-*.safetensors"))


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("unet", 5),
        ("vae", None),
        ("tokenizer", [None, None]),
        ("text_encoder", "CLIPTextModel"),
        ("text_encoder_2", ["transformers"]),
        ("scheduler", {"library": "diffusers"}),
    ],
)
def test_a_part_that_the_index_does_not_describe_is_named(
    part: str, entry: Any, model: Path
) -> None:
    set_entry(model, part, entry)
    message = refusal(model=str(model))
    assert f"model_index.json says {entry!r} for '{part}'" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "controlnet"])
def test_a_missing_configuration_is_named(part: str, model: Path) -> None:
    (model / part / "config.json").unlink()
    assert f"'{part}/config.json'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_a_missing_tokenizer_is_named(model: Path) -> None:
    shutil.rmtree(model / "tokenizer")
    assert "'tokenizer/" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("file", ["vocab.json", "merges.txt"])
def test_a_tokenizer_without_its_words_is_named(file: str, model: Path) -> None:
    save_words(model)
    (model / "tokenizer" / file).unlink()
    assert f"'tokenizer/{file}'" in refusal(model=str(model))


def test_a_tokenizer_may_be_in_two_files(make_request: Request, model: Path) -> None:
    save_words(model)
    renderer = SD15Renderer(SD15Options(model=str(model), steps=1))
    assert renderer.render([make_request()])[0].warnings == ()


def save_words(model: Path) -> None:
    """Put the tokenizer's words into two files, as older tokenizers have them."""
    folder = model / "tokenizer"
    (folder / "tokenizer.json").unlink()
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(GOLDEN / "sd15_pipe" / "tokenizer" / file, folder)


@pytest.mark.usefixtures("loads_nothing")
def test_a_missing_shard_is_named(model: Path) -> None:
    missing = shard(model)
    missing.unlink()
    assert f"'unet/{missing.name}'" in refusal(model=str(model))


@pytest.mark.usefixtures("loads_nothing")
def test_an_index_of_shards_without_its_map_is_named(model: Path) -> None:
    shard(model)
    index = model / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text("{}", "utf-8")
    assert f"{index.name} has no weight_map" in refusal(model=str(model))


def test_weights_in_several_files_are_found(make_request: Request, model: Path) -> None:
    shard(model)
    renderer = SD15Renderer(SD15Options(model=str(model), steps=1))
    assert renderer.render([make_request()])[0].image.size == (128, 128)


@pytest.mark.usefixtures("loads_nothing")
def test_a_broken_index_is_named(model: Path) -> None:
    (model / "model_index.json").write_text("{", "utf-8")
    assert "model_index.json cannot be read as JSON" in refusal(model=str(model))


def test_damaged_weights_are_named(make_request: Request, model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    renderer = SD15Renderer(SD15Options(model=str(model), steps=1))
    renderer.check()  # which reads no weights
    with pytest.raises(WeightsError, match="cannot be loaded"):
        renderer.render([make_request()])


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    "path", ["/no/such/style.safetensors", "/no/such/folder", "./style", "style", "a/b/c"]
)
def test_a_lora_that_is_not_there_is_named(path: str, pipeline_folder: Path) -> None:
    message = refusal(model=str(pipeline_folder), loras=[{"path": path}])
    assert f"LoRA '{path}' is not there" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "pytorch_lora_weights.safetensors"), ({"file": "a.safetensors"}, "a.safetensors")],
)
def test_offline_the_wanted_file_and_repository_of_a_lora_are_named(
    given: dict[str, str], wanted: str, pipeline_folder: Path
) -> None:
    lora = {"path": "owner/style-v1.5", **given}
    message = refusal(model=str(pipeline_folder), loras=[lora])
    assert f"'{wanted}' of repository 'owner/style-v1.5'" in message


@pytest.mark.usefixtures("loads_nothing")
def test_a_lora_folder_that_leaves_a_choice_is_refused(
    pipeline_folder: Path, tmp_path: Path
) -> None:
    lora = {"path": str(tmp_path)}
    message = refusal(model=str(pipeline_folder), loras=[lora])
    assert "holds no .safetensors file" in message
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    message = refusal(model=str(pipeline_folder), loras=[lora])
    assert "say which one with 'file': a.safetensors, b.safetensors" in message
    message = refusal(model=str(pipeline_folder), loras=[{**lora, "file": "c"}])
    assert "has no file 'c'" in message


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
