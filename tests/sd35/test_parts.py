"""SD3.5 with parts from elsewhere, and models and parts that do not fit together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel
from safetensors.torch import load_file, save_file

from threedis_core.errors import OptionError, ThreeDISError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.compare import differences
from threedis_diffusers.quantized.told import stored_as
from threedis_sd35.backend import SD35Options, SD35Renderer

Request = Callable[..., RenderRequest]
Render = Callable[..., tuple[SD35Renderer, np.ndarray]]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
SMALL: dict[str, Any] = {"steps": 2, "tokens_per_prompt": 12, "default_side": 64}


@pytest.fixture
def model(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("medium")


@pytest.fixture
def render(model: Path, make_request: Request) -> Render:
    """Render with other options; the renderer, and the picture."""

    def render(**options: Any) -> tuple[SD35Renderer, np.ndarray]:
        renderer = SD35Renderer(SD35Options(**{"model": str(model), **SMALL, **options}))
        renderer.check()
        (result,) = renderer.render([make_request(CAT, size=(64, 64))])
        return renderer, np.asarray(result.image).astype(int)

    return render


def refusal(kind: type[ThreeDISError] = WeightsError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        SD35Renderer(SD35Options(**{**SMALL, **options})).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(folder: Path, part: str, **config: Any) -> None:
    """Change a part's configuration."""
    file = folder / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **config}), "utf-8")


def test_a_gguf_transformer_stays_packed_and_makes_nearly_the_same_picture(
    render: Render, model: Path, benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    weights = SD3Transformer2DModel.from_pretrained(model / "transformer").state_dict()
    file = benchmark("quantized_files").write_gguf(weights, tmp_path / "sd3.5-Q8_0.gguf")
    _, plain = render()
    renderer, packed = render(transformer=str(file))
    transformer = renderer.load().pipeline.transformer
    kinds = {type(weight).__name__ for weight in transformer.parameters()}
    assert "GGUFParameter" in kinds
    assert 0 < np.abs(plain - packed).mean() < 2


def test_fp8_for_the_large_parts(render: Render) -> None:
    _, plain = render()
    renderer, eight = render(quantization="fp8")
    stored = stored_as(renderer.load().pipeline.components)
    assert stored.keys() == {"transformer", "controlnet", "text_encoder_3"}
    assert 0 < np.abs(plain - eight).mean() < 4


def test_fp8_goes_without_t5_too(render: Render) -> None:
    renderer, _ = render(quantization="fp8", t5=False)
    assert stored_as(renderer.load().pipeline.components).keys() == {"transformer", "controlnet"}


def test_t5_in_one_file_as_other_programs_have_it(
    render: Render, model: Path, tmp_path: Path
) -> None:
    weights = load_file(next((model / "text_encoder_3").glob("*.safetensors")))
    save_file(weights, tmp_path / "t5xxl_fp16.safetensors")
    _, plain = render()
    _, other = render(text_encoder_3=str(tmp_path / "t5xxl_fp16.safetensors"))
    assert np.array_equal(plain, other)


def test_a_model_saved_without_t5_is_one_to_render_without_it(
    render: Render, model: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(model, tmp_path / "bare")
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(bare / part)
    index = json.loads((bare / "model_index.json").read_text("utf-8"))
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (bare / "model_index.json").write_text(json.dumps(index), "utf-8")
    _, without = render(t5=False)
    _, saved = render(t5=False, model=str(bare))
    assert np.array_equal(without, saved)
    told = refusal(model=str(bare))
    assert "says [None, None] for 'text_encoder_3'" in told
    assert told.endswith("to do without the text_encoder_3, set t5=false")
    index = {part: kind for part, kind in index.items() if not part.endswith("_3")}
    (bare / "model_index.json").write_text(json.dumps(index), "utf-8")
    assert refusal(model=str(bare)).endswith("set t5=false")
    _, saved = render(t5=False, model=str(bare))
    assert np.array_equal(without, saved)


@pytest.mark.parametrize("part", ["text_encoder_3", "tokenizer_3", "text_encoder_2"])
def test_what_is_missing_of_t5_alone_can_be_left_out(
    part: str, model: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(other / part)
    assert ("set t5=false" in refusal(model=str(other))) == part.endswith("_3")


def test_a_controlnet_in_one_file_is_refused_with_what_to_do(model: Path, tmp_path: Path) -> None:
    """diffusers' class has no ``from_single_file``."""
    with pytest.raises(ValueError, match="FromOriginalModelMixin is currently only compatible"):
        SD3ControlNetModel.from_single_file(str(tmp_path / "one.safetensors"))
    told = refusal(model=str(model), controlnet=str(tmp_path / "one.safetensors"))
    assert "is one file, from which diffusers reads no SD3ControlNetModel" in told
    assert "such as stabilityai/stable-diffusion-3.5-large-controlnet-depth" in told
    assert "put it into a folder as diffusion_pytorch_model.safetensors, beside that config" in told
    folder = shutil.copytree(model / "controlnet", tmp_path / "folder")
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    SD35Renderer(SD35Options(model=str(model), controlnet=str(folder), **SMALL)).check()


@pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")
def test_a_lora_is_loaded_and_changes_the_picture(render: Render, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "transformer.transformer_blocks.0.attn.to_q"
    weights = {
        f"{name}.lora_A.weight": torch.randn(4, 32),
        f"{name}.lora_B.weight": torch.randn(32, 4),
    }
    save_file(weights, tmp_path / "style.safetensors")
    _, plain = render()
    _, styled = render(loras=[{"path": str(tmp_path), "weight": 2.0}])
    assert np.abs(plain - styled).mean() > 0


def test_no_lora_is_confined_to_an_instance() -> None:
    with pytest.raises(ValueError, match="no LoRA can be confined to an instance"):
        SD35Options(instance_loras={"cat": "cat.safetensors"})


def test_a_t5_that_is_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match="leave one of them out"):
        SD35Options(t5=False, text_encoder_3="owner/t5")


def test_a_t5_of_another_width_is_refused(model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(model / "text_encoder_3", tmp_path / "text_encoder_3")
    changed(tmp_path, "text_encoder_3", d_model=32)
    told = refusal(model=str(model), text_encoder_3=str(other))
    assert (
        "the text_encoder_3 has d_model 32, but the transformer has joint_attention_dim 24" in told
    )


@pytest.mark.parametrize(
    ("key", "value"), [("num_attention_heads", 2), ("in_channels", 4), ("pooled_projection_dim", 8)]
)
def test_a_controlnet_for_another_model_is_refused(
    key: str, value: int, model: Path, tmp_path: Path
) -> None:
    """The large model's for the medium one, say."""
    other = shutil.copytree(model / "controlnet", tmp_path / "controlnet")
    changed(tmp_path, "controlnet", **{key: value})
    told = refusal(model=str(model), controlnet=str(other))
    assert f"has {key} {value}, but the model has" in told


def test_a_flux_model_is_refused(model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(model, tmp_path / "flux")
    index = json.loads((other / "model_index.json").read_text("utf-8"))
    index["_class_name"] = "FluxPipeline"
    (other / "model_index.json").write_text(json.dumps(index), "utf-8")
    assert "is a 'FluxPipeline'; expected one of: StableDiffusion3" in refusal(model=str(other))


def test_a_scheduler_that_wants_a_shift_from_the_pipeline_is_refused(model: Path) -> None:
    """Stable Diffusion 3's pipeline with a ControlNet has none to give."""
    wanted = {"name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    refusal(OptionError, model=str(model), scheduler=wanted)


def test_the_doctor_tells_a_file_of_the_third_text_encoder_that_is_missing(
    model: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(model, tmp_path / "model")
    (other / "text_encoder_3" / "model.safetensors").unlink()
    found = SD35Renderer(SD35Options(model=str(other), **SMALL)).inspect()
    assert not found.ready
    missing = {part.name: part.missing for part in found.parts if part.missing}
    assert missing.keys() == {"text_encoder_3"}
    assert SD35Renderer(SD35Options(model=str(other), t5=False, **SMALL)).inspect().ready


def original_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of an SD3.5 by the names of its makers."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = config["num_attention_heads"] * config["attention_head_dim"]
    dual = config.get("dual_attention_layers", ())

    def linear(name: str, wide: int, high: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (high, wide), (high,)

    def attention(name: str, out: bool = True) -> None:
        linear(f"{name}.qkv", width, 3 * width)
        shapes[f"{name}.ln_q.weight"] = shapes[f"{name}.ln_k.weight"] = (64,)
        if out:
            linear(f"{name}.proj", width, width)

    shapes["pos_embed"] = (1, config["pos_embed_max_size"] ** 2, width)
    shapes["x_embedder.proj.weight"], shapes["x_embedder.proj.bias"] = (width, 16, 2, 2), (width,)
    for name, wide in (("t_embedder.mlp", 256), ("y_embedder.mlp", 2048)):
        linear(f"{name}.0", wide, width)
        linear(f"{name}.2", width, width)
    linear("context_embedder", 4096, width)
    for number in range(config["num_layers"]):
        block, last = f"joint_blocks.{number}", number == config["num_layers"] - 1
        for side in ("x_block", "context_block"):
            short = last and side == "context_block"
            attention(f"{block}.{side}.attn", out=not short)
            parts = 2 if short else 9 if side == "x_block" and number in dual else 6
            linear(f"{block}.{side}.adaLN_modulation.1", width, parts * width)
            if not short:
                linear(f"{block}.{side}.mlp.fc1", width, 4 * width)
                linear(f"{block}.{side}.mlp.fc2", 4 * width, width)
        if number in dual:
            attention(f"{block}.x_block.attn2")
    linear("final_layer.linear", width, 64)
    linear("final_layer.adaLN_modulation.1", width, 2 * width)
    return shapes


@pytest.mark.parametrize("size", ["LARGE", "MEDIUM"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_files_as_other_programs_share_them_are_known(
    size: str, prefix: str, benchmark: Callable[[str], ModuleType]
) -> None:
    """GGUF has the bare names, the makers' own single file those of a whole checkpoint."""
    config = getattr(benchmark("architectures"), f"SD35_{size}")
    shapes = {prefix + name: shape for name, shape in original_shapes(config).items()}
    told, count = differences(shapes, "SD3Transformer2DModel", config)
    assert told == []
    assert count > 700
    shapes.pop(f"{prefix}joint_blocks.3.x_block.attn.ln_q.weight")
    shapes[f"{prefix}joint_blocks.3.x_block.attn.ln_q.weight"] = (32,)
    told, _ = differences(shapes, "SD3Transformer2DModel", config)
    assert len(told) == 1


def test_the_default_models_are_ids_in_diffusers_format() -> None:
    for name in (SD35Options().model, SD35Renderer.default_controlnet):
        assert not ModelSource(name).is_local
