"""LoRAs change the picture, and so the hook reads the adapted weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from threedis_core.errors import WeightsError
from threedis_core.interfaces import RenderRequest
from threedis_sd.sd15 import SD15Options, SD15Renderer

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def lora_file(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA on the cross-attention's text projections alone."""
    from diffusers import StableDiffusionControlNetPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_diffusers

    unet = UNet2DConditionModel.from_pretrained(pipeline_folder / "unet")
    targets = ["attn2.to_k", "attn2.to_v"]
    unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    )
    torch.manual_seed(0)
    state = peft.get_peft_model_state_dict(unet)
    state = {name: torch.randn_like(weight) for name, weight in state.items()}
    folder = tmp_path_factory.mktemp("lora")
    StableDiffusionControlNetPipeline.save_lora_weights(
        folder, convert_state_dict_to_diffusers(state), weight_name="style.safetensors"
    )
    return folder / "style.safetensors"


def test_a_lora_counts_as_much_as_its_weight_says(
    lora_file: Path,
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
) -> None:
    request = make_request(("a red cat", (0.1, 0.1, 0.6, 0.6)))
    pictures = []
    for weight in (None, 0.0, 1.0, 2.0):
        loras = [] if weight is None else [{"path": str(lora_file), "weight": weight}]
        options = SD15Options(model=str(pipeline_folder), steps=2, loras=loras)
        pictures.append(np.asarray(SD15Renderer(options).render([request])[0].image).astype(int))
    none, zero, one, two = pictures
    assert np.abs(none - zero).max() <= 2
    assert np.abs(none - one).max() > 2
    assert np.abs(one - two).max() > 2


def test_a_file_that_is_no_lora_is_refused(
    tmp_path: Path, pipeline_folder: Path, make_request: Callable[..., RenderRequest]
) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"not a safetensors file")
    options = SD15Options(model=str(pipeline_folder), steps=1, loras=[{"path": str(path)}])
    with pytest.raises(WeightsError, match=r"style\.safetensors"):
        SD15Renderer(options).render([make_request()])
