"""Before a run does anything, every renderer is asked whether its options can work here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from threedis_core.errors import OptionError, ThreeDISError, WeightsError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import RenderBackend
from threedis_diffusers.devices import find_device
from threedis_diffusers.joint.lowering import check_lowering
from threedis_flux.options import FluxOptions
from threedis_pocket import WEIGHTS

UNETS = ("pocket-sd15", "pocket-sd21", "pocket-sdxl")
FAMILIES = (*UNETS, "pocket-flux")
Check = Callable[..., str]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def make(family: str, **options: Any) -> RenderBackend:
    return load_plugins().renderer(family, {"device": "cpu", **options})


def refusal(kind: type[ThreeDISError], family: str, **options: Any) -> str:
    """What making the renderer, or asking it, says."""
    with pytest.raises(kind) as caught:
        make(family, **options).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_work_passes_and_no_weights_are_read(family: str, tmp_path: Path) -> None:
    copy = shutil.copytree(WEIGHTS / family, tmp_path / "model")
    for weights in copy.rglob("*.safetensors"):
        weights.write_bytes(b"no weights")
    backend = make(family, model=str(copy))
    backend.check()
    with pytest.raises(WeightsError):  # they could not have been read
        backend.load()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "nope"}, WeightsError, "model folder 'nope' is not there"),
        ({"model": str(WEIGHTS / "pocket-depth")}, WeightsError, "pocket-depth"),
        ({"loras": [{"path": "nope"}]}, WeightsError, "LoRA 'nope' is not there"),
        ({"device": "cuda:63"}, OptionError, "no such device"),
        ({"dtype": "int8"}, OptionError, "dtype is 'int8'"),
        ({"offload": "model"}, OptionError, "nothing to offload from"),
        ({"attention_backend": "cudnn"}, OptionError, "needs a CUDA device"),
        ({"attention_backend": "sage"}, OptionError, "attention_backend is 'sage'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    family: str, options: dict[str, Any], kind: type[ThreeDISError], message: str
) -> None:
    if options.get("model", "").endswith("depth") and family in ("pocket-sd15", "pocket-sd21"):
        pytest.skip("its pipeline class is one that sd15 and sd21 take")
    assert message in refusal(kind, family, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_without_its_package_is_refused(
    family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "style.safetensors")
    monkeypatch.setattr("diffusers.utils.is_peft_available", lambda: False)
    loras = [{"path": str(tmp_path / "style.safetensors")}]
    assert "needs the package peft" in refusal(OptionError, family, loras=loras)


@pytest.mark.parametrize("family", UNETS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controlnet": "nope"}, "'nope' is not there"),
        ({"controlnet": str(WEIGHTS / "pocket-sd15" / "vae")}, "is a 'AutoencoderKL'"),
        ({"vae": "nope"}, "'nope' is not there"),
        ({"vae": str(WEIGHTS / "pocket-sd15" / "unet")}, "is a 'UNet2DConditionModel'"),
    ],
)
def test_a_controlnet_or_a_vae_that_cannot_work_is_refused(
    family: str, options: dict[str, str], message: str
) -> None:
    assert message in refusal(WeightsError, family, **options)


@pytest.mark.parametrize(
    ("family", "other"), [("sd15", "sdxl"), ("sd21", "sd15"), ("sdxl", "sd15")]
)
def test_a_single_file_of_another_family_is_refused(
    family: str, other: str, tmp_path: Path
) -> None:
    names = {
        "sd15": ["cond_stage_model.transformer.a"],
        "sdxl": ["conditioner.embedders.0.transformer.a", "conditioner.embedders.1.model.a"],
    }
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(1) for name in names[other]}, file)
    assert f"use renderer '{other}'" in refusal(WeightsError, f"pocket-{family}", model=str(file))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"depth_lora": "nope"}, WeightsError, "takes depth already"),
        (
            {"quantization": {"quant_backend": "bitsandbytes"}},
            OptionError,
            "quant_backend is 'bitsandbytes'",
        ),
        (
            {
                "quantization": {
                    "quant_backend": "bitsandbytes_4bit",
                    "quant_kwargs": {"load_in_4bit": True},
                    "components_to_quantize": ["unet"],
                }
            },
            OptionError,
            "no part 'unet'",
        ),
    ],
)
def test_what_only_flux_has_is_refused_likewise(
    options: dict[str, Any], kind: type[ThreeDISError], message: str
) -> None:
    assert message in refusal(kind, "pocket-flux", **options)


@pytest.mark.parametrize("backend", ["quanto", "torchao", "bitsandbytes_4bit"])
@pytest.mark.parametrize("part", ["transformer", "text_encoder_2"])
def test_a_quantisation_that_does_not_work_here_is_refused(backend: str, part: str) -> None:
    """None of these packages is installed in the tests' environment, and there is no GPU."""
    keywords = {"quanto": {"weights_dtype": "int8"}, "torchao": {"quant_type": "int8wo"}}
    quantization = {
        "quant_backend": backend,
        "quant_kwargs": keywords.get(backend, {"load_in_4bit": True}),
        "components_to_quantize": [part],
    }
    said = refusal(OptionError, "pocket-flux", quantization=quantization)
    assert said.startswith("quantization ")


@pytest.mark.parametrize("given", [{"attention": "block_mask"}, {"attention_backend": "flex"}])
def test_a_block_mask_on_cuda_wants_a_compiler(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threedis_diffusers.joint.lowering.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="needs the package triton"):
        check_lowering(FluxOptions(**given), torch.device("cuda"))
    check_lowering(FluxOptions(**given), find_device("cpu"))


def test_a_renderer_that_was_checked_does_not_read_the_models_index_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from threedis_diffusers.model_files.sources import ModelSource

    read, original = list[str](), ModelSource.read

    def note(self: ModelSource, file: str) -> dict[str, Any]:
        read.append(file)
        return original(self, file)

    monkeypatch.setattr(ModelSource, "read", note)
    renderer = make("pocket-sd15")
    for _ in range(4):
        assert renderer.capabilities.default_size == (128, 128)
    assert sorted(read) == ["unet/config.json", "vae/config.json"]
    renderer.check()
    read.clear()
    renderer.check()
    renderer.load()  # type: ignore[attr-defined]
    assert "model_index.json" not in read
