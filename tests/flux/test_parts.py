"""FLUX with parts from elsewhere: folders, GGUF and FP8 files, T5 as others share it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxControlPipeline, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from threedis_core.errors import OptionError, ThreeDISError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.quantized.told import stored_as
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

Request = Callable[..., RenderRequest]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
SMALL: dict[str, Any] = {"steps": 2, "tokens_per_prompt": 12, "default_side": 64}
needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf")


@pytest.fixture(scope="session")
def files(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    """What writes single files."""
    pytest.importorskip("gguf")
    return benchmark("quantized_files")


@pytest.fixture(scope="session")
def weights(pipeline_folder: Path) -> dict[str, torch.Tensor]:
    """The transformer's, by diffusers' names."""
    return FluxTransformer2DModel.from_pretrained(pipeline_folder / "transformer").state_dict()


@pytest.fixture(scope="session")
def gguf(files: ModuleType, weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transformer as GGUF."""
    return files.write_gguf(weights, tmp_path_factory.mktemp("gguf") / "flux-Q8_0.gguf")


@pytest.fixture
def headless(pipeline_folder: Path, tmp_path: Path) -> Path:
    """The tiny model without the weights of its transformer and of its T5."""
    model = shutil.copytree(pipeline_folder, tmp_path / "headless")
    for part in ("transformer", "text_encoder_2"):
        for file in (model / part).glob("*.safetensors"):
            file.unlink()
    return model


@pytest.fixture
def render(pipeline_folder: Path, make_request: Request) -> Callable[..., tuple[Any, np.ndarray]]:
    """Render with other options; what was loaded, and the picture."""

    def render(**options: Any) -> tuple[Any, np.ndarray]:
        given = {"model": str(pipeline_folder), **SMALL, **options}
        renderer = FluxRenderer(FluxOptions(**given))
        renderer.check()
        result = renderer.render([make_request(CAT)])[0]
        assert result.provenance.get("quantized", {}) == stored(renderer)
        return renderer, np.asarray(result.image).astype(int)

    return render


def refusal(kind: type[ThreeDISError] = WeightsError, **options: Any) -> ThreeDISError:
    with pytest.raises(kind) as caught:
        FluxRenderer(FluxOptions(**{**SMALL, **options})).check()
    assert "\n" not in str(caught.value)
    return caught.value


def stored(renderer: FluxRenderer) -> dict[str, str]:
    return stored_as(renderer.load().pipeline.components)


def parameters(renderer: FluxRenderer, part: str) -> dict[str, torch.Tensor]:
    return dict(getattr(renderer.load().pipeline, part).named_parameters())


def test_parts_from_folders_make_the_same_picture(render, headless: Path, pipeline_folder) -> None:
    _, plain = render()
    places = {"transformer": pipeline_folder / "transformer", "text_encoder_2": pipeline_folder}
    _, other = render(model=str(headless), **{part: str(at) for part, at in places.items()})
    assert np.array_equal(plain, other), "the second is found in the pipeline's own folder"


def test_a_gguf_transformer_stays_packed_and_makes_nearly_the_same_picture(
    render, headless: Path, gguf: Path, pipeline_folder: Path
) -> None:
    _, plain = render()
    given = {"model": str(headless), "text_encoder_2": str(pipeline_folder)}
    renderer, packed = render(transformer=str(gguf), **given)
    kinds = {type(weight).__name__ for weight in parameters(renderer, "transformer").values()}
    assert "GGUFParameter" in kinds
    assert stored(renderer) == {"transformer": "gguf Q8_0"}
    assert 0 < np.abs(plain - packed).mean() < 2


def test_t5_as_gguf_is_read_and_unpacked(
    render, files: ModuleType, pipeline_folder: Path, tmp_path: Path
) -> None:
    encoder = T5EncoderModel.from_pretrained(pipeline_folder / "text_encoder_2")
    t5 = files.write_t5_gguf(encoder, tmp_path / "t5.gguf")
    _, plain = render()
    renderer, other = render(text_encoder_2=str(t5))
    assert {weight.dtype for weight in parameters(renderer, "text_encoder_2").values()} == {
        torch.float32
    }
    assert np.abs(plain - other).mean() < 1
    _, eight = render(text_encoder_2=str(t5), quantization={"text_encoder_2": "fp8"})
    assert 0 < np.abs(other - eight).mean() < 4


def test_an_fp8_file_stays_in_fp8(render, files: ModuleType, weights, tmp_path: Path) -> None:
    file = files.write_fp8(weights, tmp_path / "flux1-dev-fp8.safetensors")
    renderer, eight = render(transformer=str(file))
    assert stored(renderer) == {"transformer": "float8_e4m3fn"}
    same, wide = render(transformer=str(file), quantization={"transformer": None})
    assert stored(same) == {}
    assert np.abs(eight - wide).max() <= 1, "it is cast for each layer, or once for all"


def test_t5_in_one_file_as_other_programs_have_it(render, pipeline_folder, tmp_path) -> None:
    weights = load_file(next((pipeline_folder / "text_encoder_2").glob("*.safetensors")))
    _, plain = render()
    save_file(weights, tmp_path / "t5xxl_fp16.safetensors")
    _, other = render(text_encoder_2=str(tmp_path / "t5xxl_fp16.safetensors"))
    assert np.array_equal(plain, other)
    name = next(name for name in weights if name.endswith("wo.weight"))
    del weights[name]
    save_file(weights, tmp_path / "t5xxl_fp16.safetensors")
    with pytest.raises(WeightsError, match=f"1 weights of the text_encoder_2 .*{name}"):
        render(text_encoder_2=str(tmp_path / "t5xxl_fp16.safetensors"))


def test_fp8_for_the_large_parts(render) -> None:
    _, plain = render()
    renderer, eight = render(quantization="fp8")
    assert stored(renderer).keys() == {"transformer", "text_encoder_2"}
    assert 0 < np.abs(plain - eight).mean() < 4
    norms = [w for n, w in parameters(renderer, "transformer").items() if "norm" in n]
    assert {weight.dtype for weight in norms} == {torch.float32}


@needs_gguf
def test_what_is_wrong_with_a_file_is_said_before_anything_loads(
    pipeline_folder: Path, files: ModuleType, weights, gguf: Path, tmp_path: Path
) -> None:
    model = {"model": str(pipeline_folder)}
    missing = refusal(transformer=str(tmp_path / "x.gguf"), **model)
    assert "has no file 'x.gguf'" in str(missing)
    (tmp_path / "x.ckpt").touch()
    assert "never read" in str(refusal(transformer=str(tmp_path / "x.ckpt"), **model))
    (tmp_path / "torn.gguf").write_bytes(gguf.read_bytes()[:200])
    assert "is damaged" in str(refusal(transformer=str(tmp_path / "torn.gguf"), **model))
    scaled = {**weights, "x_embedder.scale_weight": torch.ones(1)}
    file = files.write_fp8(scaled, tmp_path / "scaled.safetensors")
    assert "scales beside them" in str(refusal(transformer=str(file), **model))
    narrow = {**weights, "x_embedder.weight": weights["x_embedder.weight"][:, :8].contiguous()}
    file = files.write_gguf(narrow, tmp_path / "base.gguf")
    told = str(refusal(transformer=str(file), **model))
    assert "1 of" in told
    assert "x_embedder.weight, got (32, 8), expected (32, 16)" in told
    assert "'flux'" in str(refusal(text_encoder_2=str(gguf), **model))


def test_what_is_on_the_hub_and_not_here_is_named(
    pipeline_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    told = refusal(model=str(pipeline_folder), transformer="me/x/flux-Q8_0.gguf@v1")
    assert "`hf download me/x --revision v1 --include flux-Q8_0.gguf`" in str(told)


@needs_gguf
def test_packed_weights_are_neither_packed_again_nor_joined(
    pipeline_folder: Path, gguf: Path
) -> None:
    given = {"model": str(pipeline_folder), "transformer": str(gguf)}
    told = refusal(OptionError, quantization="fp8", **given)
    assert "quantised already" in str(told)
    assert "fuse_qkv=false" in refusal(OptionError, fuse_qkv=True, **given).hint


def test_parts_of_different_models_are_refused(pipeline_folder: Path, tmp_path: Path) -> None:
    config = T5EncoderModel.config_class.from_pretrained(pipeline_folder / "text_encoder_2")
    config.d_model = 48
    T5EncoderModel(config).save_pretrained(tmp_path / "t5")
    given = {"model": str(pipeline_folder), "text_encoder_2": str(tmp_path / "t5")}
    assert "d_model 48" in str(refusal(**given))
    given["text_encoder_2"] = str(pipeline_folder / "vae")
    assert "is a 'AutoencoderKL'; expected" in str(refusal(**given))


@needs_gguf
def test_the_doctor_sees_the_parts_from_elsewhere(headless: Path, gguf: Path) -> None:
    given = {"model": str(headless), "transformer": str(gguf), "text_encoder_2": "me/t5"}
    found = FluxRenderer(FluxOptions(**given, **SMALL)).inspect()
    (part,) = (part for part in found.parts if part.source == str(gguf.parent))
    assert (part.name, part.missing) == ("transformer", ())
    assert [one.path for one in part.files] == ["flux-Q8_0.gguf"]
    wanted = "--include config.json --include model.safetensors"
    assert found.commands == (f"hf download me/t5 {wanted}",)


def test_a_folder_without_any_of_the_weights_is_refused(
    pipeline_folder: Path, make_request: Request, tmp_path: Path
) -> None:
    for part in ("transformer", "text_encoder_2", "text_encoder"):
        model = shutil.copytree(pipeline_folder, tmp_path / part)
        file = next((model / part).glob("*.safetensors"))
        save_file({"stranger": torch.ones(1)}, file, {"format": "pt"})
        renderer = FluxRenderer(FluxOptions(model=str(model), **SMALL))
        with pytest.raises(WeightsError, match=f"weights of the {part} are missing"):
            renderer.load()


@pytest.fixture
def lora(pipeline_folder: Path, tmp_path: Path) -> dict[str, str]:
    """A LoRA for the tiny transformer."""
    transformer = FluxTransformer2DModel.from_pretrained(pipeline_folder / "transformer")
    return {"path": str(save_lora(transformer, tmp_path / "lora", "to_q", "to_k", "to_v"))}


def save_lora(transformer: FluxTransformer2DModel, folder: Path, *targets: str) -> Path:
    peft = pytest.importorskip("peft")
    transformer.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=list(targets)))
    torch.manual_seed(1)
    state = peft.get_peft_model_state_dict(transformer)
    state = {name: 0.3 * torch.randn_like(weight) for name, weight in state.items()}
    FluxControlPipeline.save_lora_weights(folder, state)
    return folder


@needs_gguf
@pytest.mark.parametrize("way", ["gguf", "fp8"])
def test_a_lora_does_to_packed_weights_what_it_does_to_plain_ones(
    way: str, render, gguf: Path, lora: dict[str, str]
) -> None:
    given = {"gguf": {"transformer": str(gguf)}, "fp8": {"quantization": {"transformer": "fp8"}}}
    _, without = render()
    _, plain = render(loras=[lora])
    renderer, packed = render(loras=[lora], **given[way])
    assert stored(renderer).keys() == {"transformer"}
    moved = np.abs(plain - without).mean()
    assert moved > 2, "else this tells nothing"
    assert np.abs(plain - packed).mean() < 0.5 * moved


@needs_gguf
@pytest.mark.parametrize("way", ["gguf", "fp8"])
def test_a_depth_lora_goes_on_a_packed_base(
    way: str, files: ModuleType, pipeline_folder: Path, make_request: Request, tmp_path: Path
) -> None:
    parts = FluxControlPipeline.from_pretrained(pipeline_folder).components
    config = dict(parts["transformer"].config)
    lora = save_lora(FluxTransformer2DModel.from_config(config), tmp_path / "lora", "x_embedder")
    torch.manual_seed(0)
    base = {**config, "in_channels": config["in_channels"] // 2}
    parts["transformer"] = FluxTransformer2DModel.from_config(base)
    FluxPipeline(**parts).save_pretrained(tmp_path / "base")
    file = files.write_gguf(parts["transformer"].state_dict(), tmp_path / "base.gguf")
    given = {"gguf": {"transformer": str(file)}, "fp8": {"quantization": "fp8"}}[way]
    options = FluxOptions(model=str(tmp_path / "base"), depth_lora=str(lora), **given, **SMALL)
    renderer = FluxRenderer(options)
    renderer.check()
    renderer.render([make_request(CAT)])
    assert "transformer" in stored(renderer)
    assert renderer.load().pipeline.transformer.x_embedder.in_features == config["in_channels"]


def memory(dtype: str = "bfloat16", **options: Any) -> int:
    """Bytes that the doctor says a model takes, of a size that only weights differ in."""
    found = FluxRenderer(FluxOptions(dtype=dtype, device="cpu", **options)).inspect()
    assert not found.problems
    return found.memory[0].main


def test_the_doctors_memory_is_that_of_weights_as_they_are_held(
    pipeline_folder: Path, files: ModuleType, weights, gguf: Path, tmp_path: Path
) -> None:
    model = {"model": str(pipeline_folder), "default_side": 64}
    count, packed = sum(weight.numel() for weight in weights.values()), gguf.stat().st_size
    plain = memory(**model)
    in_fp8 = memory(quantization={"transformer": "fp8"}, **model)
    assert in_fp8 == pytest.approx(plain - count, abs=2)
    as_gguf = memory(transformer=str(gguf), **model)
    assert as_gguf == pytest.approx(plain - 2 * count + packed, abs=2)
    eight = files.write_fp8(weights, tmp_path / "flux-fp8.safetensors")
    assert plain - memory(transformer=str(eight), **model) == pytest.approx(
        2 * count - eight.stat().st_size, abs=2
    )
    t5 = T5EncoderModel.from_pretrained(pipeline_folder / "text_encoder_2")
    unpacked = memory(text_encoder_2=str(files.write_t5_gguf(t5, tmp_path / "t5.gguf")), **model)
    assert unpacked == pytest.approx(plain, abs=5000), "a packed one would be read to no avail"


def test_the_doctor_knows_what_published_files_will_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    packed = "SporkySporkness/FLUX.1-Depth-dev-GGUF/flux1-depth-dev-fp16-Q8_0-GGUF.gguf"
    t5 = "city96/t5-v1_1-xxl-encoder-gguf/t5-v1_1-xxl-encoder-Q8_0.gguf"
    nf4 = "diffusers/FLUX.1-Depth-dev-nf4"
    plain = memory()
    assert plain - memory(transformer=packed) == pytest.approx(23.8e9 - 12.7e9, rel=0.01)
    assert memory(transformer=packed, text_encoder_2=t5) == memory(transformer=packed)
    assert plain - memory(transformer=nf4) == pytest.approx(23.8e9 - 6.7e9, rel=0.01)
