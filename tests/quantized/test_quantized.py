"""Quantised by torchao, quanto and bitsandbytes for real, on the CPU: the pocket FLUX."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    FluxControlPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import BitsAndBytesConfig, T5Config, T5EncoderModel

from threedis_core.errors import OptionError
from threedis_core.testing.samples import sample_request
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import find_part
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.quantized.told import stored_as
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions
from threedis_pocket import WEIGHTS
from threedis_sd.sd15 import SD15Options, SD15Renderer

torch.set_num_threads(1)

MODEL = WEIGHTS / "pocket-flux"
SMALL: dict[str, Any] = {"steps": 4, "tokens_per_prompt": 16, "default_side": 128}
BF16 = torch.bfloat16
QUANTO = {"quant_backend": "quanto", "quant_kwargs": {"weights": "int8"}}
FLOAT8 = {"quant_backend": "torchao", "quant_kwargs": {"quant_type": "float8_weight_only"}}


def needs(*packages: str) -> Any:
    missing = [name for name in packages if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


WAYS = [
    pytest.param("int8", "torchao Int8WeightOnlyConfig", marks=needs("torchao")),
    pytest.param(FLOAT8, "torchao Float8WeightOnlyConfig", marks=needs("torchao")),
    pytest.param(QUANTO, "quanto int8", marks=needs("optimum")),
]


def make(model: Path = MODEL, **options: Any) -> FluxRenderer:
    return FluxRenderer(FluxOptions(**{"model": str(model), **SMALL, **options}))


def picture(renderer: FluxRenderer) -> np.ndarray:
    renderer.check()
    return np.asarray(renderer.render([sample_request(2, size=(128, 128))])[0].image).astype(int)


@pytest.fixture(scope="module")
def plain() -> tuple[np.ndarray, int]:
    """The picture that unquantised weights make, and their bytes."""
    renderer = make()
    return picture(renderer), renderer.memory() or 0


@pytest.mark.parametrize(("quantization", "stored"), WAYS)
def test_both_large_parts_are_quantised_and_hardly_another_picture(
    quantization: Any, stored: str, plain: tuple[np.ndarray, int]
) -> None:
    renderer = make(quantization=quantization)
    other = picture(renderer)
    told = stored_as(renderer.load().pipeline.components)
    assert told == dict.fromkeys(("transformer", "text_encoder_2"), stored)
    assert 0 < np.abs(plain[0] - other).mean() < 4
    assert (renderer.memory() or 0) < 0.5 * plain[1]


@needs("torchao", "optimum")
def test_each_part_by_another_library(plain: tuple[np.ndarray, int]) -> None:
    renderer = make(quantization={"transformer": "int8", "text_encoder_2": QUANTO})
    assert np.abs(plain[0] - picture(renderer)).mean() < 4
    told = stored_as(renderer.load().pipeline.components)
    assert {part: how.split()[0] for part, how in told.items()} == {
        "transformer": "torchao",
        "text_encoder_2": "quanto",
    }


def lora_of(transformer: FluxTransformer2DModel, folder: Path, *targets: str) -> Path:
    peft = pytest.importorskip("peft")
    transformer.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=list(targets)))
    torch.manual_seed(1)
    state = peft.get_peft_model_state_dict(transformer)
    state = {name: 0.1 * torch.randn_like(weight) for name, weight in state.items()}
    FluxControlPipeline.save_lora_weights(folder, state)
    return folder


@pytest.mark.parametrize(("quantization", "stored"), WAYS[:2])
def test_a_lora_does_to_quantised_weights_what_it_does_to_plain_ones(
    quantization: Any, stored: str, plain: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    transformer = FluxTransformer2DModel.from_pretrained(MODEL, subfolder="transformer")
    lora = {"path": str(lora_of(transformer, tmp_path / "lora", "to_q", "to_k", "to_v"))}
    with_lora = picture(make(loras=[lora]))
    moved = np.abs(plain[0] - with_lora).mean()
    other = picture(make(loras=[lora], quantization=quantization))
    assert moved > 4, "else this tells nothing"
    assert np.abs(with_lora - other).mean() < 0.5 * moved


@pytest.mark.parametrize(("quantization", "stored"), WAYS[:2])
def test_a_depth_lora_makes_the_plain_layer_of_a_quantised_base_larger(
    quantization: Any, stored: str, tmp_path: Path
) -> None:
    parts = FluxControlPipeline.from_pretrained(MODEL).components
    config = dict(parts["transformer"].config)
    torch.manual_seed(0)
    base = {**config, "in_channels": config["in_channels"] // 2}
    parts["transformer"] = FluxTransformer2DModel.from_config(base)
    FluxPipeline(**parts).save_pretrained(tmp_path / "base")
    deep = FluxTransformer2DModel.from_config(config)
    lora = lora_of(deep, tmp_path / "lora", "x_embedder", "attn.to_q")
    renderer = make(tmp_path / "base", depth_lora=str(lora), quantization=quantization)
    picture(renderer)
    embedder = renderer.load().pipeline.transformer.x_embedder
    assert embedder.in_features == config["in_channels"]


@needs("optimum")
def test_quanto_takes_no_loras_and_says_so() -> None:
    with pytest.raises(OptionError, match="quanto takes no LoRAs; use int8"):
        make(loras=[{"path": "me/lora"}], quantization=QUANTO).check()


@pytest.fixture
def nf4(tmp_path: Path) -> Path:
    """A folder like diffusers/FLUX.1-Depth-dev-nf4: no index, and a T5 that was saved in nf4."""
    config = T5Config(
        d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, vocab_size=100,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False,
    )  # fmt: skip
    torch.manual_seed(0)
    T5EncoderModel(config).save_pretrained(tmp_path / "plain")
    way = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=BF16
    )
    encoder = T5EncoderModel.from_pretrained(
        tmp_path / "plain", quantization_config=way, dtype=BF16
    )
    encoder.save_pretrained(tmp_path / "nf4" / "text_encoder_2")
    return tmp_path / "nf4"


@needs("bitsandbytes")
def test_a_t5_that_was_saved_in_nf4_is_read_as_it_is(nf4: Path) -> None:
    part = find_part(str(nf4), "text_encoder_2", ModelSource(str(MODEL)), BF16)
    assert isinstance(part, PipelinePart)
    encoder = part.load(BF16)
    assert stored_as({"text_encoder_2": encoder}) == {"text_encoder_2": "bitsandbytes nf4"}
    states = encoder(torch.arange(10)[None])[0]
    assert states.isfinite().all()
    plain = T5EncoderModel.from_pretrained(nf4.parent / "plain")(torch.arange(10)[None])[0]
    alike = torch.cosine_similarity(states.float().flatten(), plain.flatten(), dim=0)
    assert alike > 0.95


@needs("bitsandbytes")
def test_what_was_saved_quantised_is_not_quantised_again(nf4: Path) -> None:
    model = shutil.copytree(MODEL, nf4.parent / "model")
    with pytest.raises(OptionError, match="was saved quantised by bitsandbytes_4bit already"):
        make(model, text_encoder_2=str(nf4), quantization={"text_encoder_2": "fp8"}).check()


@needs("bitsandbytes")
@pytest.mark.parametrize("part", ["text_encoder_2"])
def test_nf4_while_loading(part: str, nf4: Path) -> None:
    from threedis_diffusers.quantized.wanted import SHORT

    plain = str(nf4.parent / "plain")
    found = find_part(plain, part, ModelSource(str(MODEL)), BF16, SHORT["nf4"])
    encoder = found.load(BF16)
    assert stored_as({part: encoder}) == {part: "bitsandbytes nf4"}
    assert encoder.hf_quantizer.quantization_config.bnb_4bit_compute_dtype == BF16


@pytest.mark.parametrize(("quantization", "stored"), WAYS)
def test_a_unet_and_its_controlnet_are_quantised_and_take_loras(
    quantization: Any, stored: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    model = WEIGHTS / "pocket-sd15"
    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    unet.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v"]))
    state = peft.get_peft_model_state_dict(unet)
    state = {name: 0.3 * torch.randn_like(weight) for name, weight in state.items()}
    StableDiffusionPipeline.save_lora_weights(tmp_path / "lora", state)
    pictures = []
    for given in ({}, {"quantization": quantization}):
        lora = {"path": str(tmp_path / "lora")}
        options = SD15Options(model=str(model), steps=4, loras=[lora], **given)
        renderer = SD15Renderer(options)
        renderer.check()
        request = sample_request(2, size=(128, 128))
        pictures.append(np.asarray(renderer.render([request])[0].image).astype(int))
    told = stored_as(renderer.load().pipeline.components)
    assert told == dict.fromkeys(("unet", "controlnet"), stored)
    assert 0 < np.abs(pictures[0] - pictures[1]).mean() < 6
