"""Stable Diffusion with parts from elsewhere and with quantised weights, on the real classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from threedis_core.errors import OptionError, ThreeDISError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.quantized.told import stored_as
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sdxl import SDXLRenderer

Request = Callable[..., RenderRequest]
KINDS: dict[str, type[UNetRenderer]] = {"sd15": SD15Renderer, "sdxl": SDXLRenderer}
CAT = ("a red cat", (0.1, 0.1, 0.6, 0.6))


def make(family: str, folder: Path, **options: Any) -> UNetRenderer:
    kind = KINDS[family]
    return kind(kind.Options(**{"steps": 2, "model": str(folder), **options}))


@pytest.fixture
def render(
    family_folder: Callable[[str], Path], make_request: Request
) -> Callable[..., tuple[dict[str, str], np.ndarray]]:
    """Render with other options: how weights are stored, and the picture."""

    def render(family: str, **options: Any) -> tuple[dict[str, str], np.ndarray]:
        renderer = make(family, family_folder(family), **options)
        renderer.check()
        result = renderer.render([make_request(CAT, size=(64, 64))])[0]
        stored = stored_as(renderer.load().pipeline.components)
        return stored, np.asarray(result.image).astype(int)

    return render


def refusal(kind: type[ThreeDISError], folder: Path, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        make("sd15", folder, **options).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weights_of(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(next((folder / part).glob("*.safetensors")))


@pytest.mark.parametrize("family", KINDS)
def test_every_part_may_come_from_elsewhere(
    family: str, render, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = family_folder(family)
    _, plain = render(family)
    parts = [part for part in KINDS[family].Options.parts if (folder / part).is_dir()]
    headless = shutil.copytree(folder, tmp_path / "headless")
    given = {}
    for number, part in enumerate(parts):
        for file in (headless / part).glob("*.safetensors"):
            file.unlink()
        if number % 2 and part != "text_encoder":
            given[part] = str(tmp_path / f"{part}.safetensors")
            save_file(weights_of(folder, part), given[part])
        else:
            given[part] = str(folder / part)
    _, other = render(family, model=str(headless), **given)
    assert np.abs(plain - other).max() <= 1


@pytest.mark.parametrize("family", KINDS)
def test_a_gguf_unet_stays_packed(
    family: str,
    render,
    family_folder: Callable[[str], Path],
    benchmark: Callable[[str], ModuleType],
    tmp_path: Path,
) -> None:
    pytest.importorskip("gguf")
    weights = weights_of(family_folder(family), "unet")
    file = benchmark("quantized_files").write_gguf(weights, tmp_path / "unet.gguf", "sd1")
    _, plain = render(family)
    stored, packed = render(family, unet=str(file))
    assert stored == {"unet": "gguf Q8_0"}
    assert 0 < np.abs(plain - packed).mean() < 4


@pytest.mark.parametrize("family", KINDS)
def test_fp8_for_the_unet_and_its_controlnet(family: str, render) -> None:
    _, plain = render(family)
    stored, eight = render(family, quantization="fp8")
    assert stored == dict.fromkeys(("unet", "controlnet"), "float8_e4m3fn")
    assert 0 < np.abs(plain - eight).mean() < 8


def test_a_part_of_another_kind_of_model_is_refused(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, xl = family_folder("sd15"), family_folder("sdxl")
    assert "unet has" in refusal(WeightsError, folder, unet=str(xl / "unet"))
    assert "is a 'AutoencoderKL'" in refusal(WeightsError, folder, unet=str(xl / "vae"))
    save_file(weights_of(xl, "unet"), tmp_path / "xl.safetensors")
    told = refusal(WeightsError, folder, unet=str(tmp_path / "xl.safetensors"))
    assert "are not those of the unet" in told
    save_file(weights_of(xl, "controlnet"), tmp_path / "control.safetensors")
    told = refusal(WeightsError, folder, controlnet=str(tmp_path / "control.safetensors"))
    assert "are not those of the controlnet" in told


def test_a_quantisation_of_a_part_that_is_not_there_is_refused(
    family_folder: Callable[[str], Path],
) -> None:
    with pytest.raises(ValueError, match="no part 'transformer'"):
        make("sd15", family_folder("sd15"), quantization={"transformer": "fp8"})
    with pytest.raises(ValueError, match="no part 'text_encoder_2'"):
        make("sd15", family_folder("sd15"), quantization={"text_encoder_2": "fp8"})
    backend = {"quant_backend": "gguf", "quant_kwargs": {}}
    told = refusal(OptionError, family_folder("sd15"), quantization={"unet": backend})
    assert "name such a file" in told or "pip install gguf" in told
