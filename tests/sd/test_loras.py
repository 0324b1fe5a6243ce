"""LoRAs change the picture, and so the hook reads the adapted weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from threedis_core.errors import WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Options, SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

peft = pytest.importorskip("peft")


RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
}


def save_lora(folder: Path, model: Path) -> Path:
    """A LoRA on the cross-attention's text projections alone."""
    from diffusers import DiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_diffusers

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    targets = ["attn2.to_k", "attn2.to_v"]
    unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    )
    torch.manual_seed(0)
    state = peft.get_peft_model_state_dict(unet)
    state = {name: torch.randn_like(weight) for name, weight in state.items()}
    kind = getattr(diffusers, DiffusionPipeline.load_config(model)["_class_name"])
    kind.save_lora_weights(
        folder, convert_state_dict_to_diffusers(state), weight_name="style.safetensors"
    )
    return folder / "style.safetensors"


@pytest.mark.parametrize("family", RENDERERS)
def test_a_lora_counts_as_much_as_its_weight_says(
    family: str,
    family_folder: Callable[[str], Path],
    make_request: Callable[..., RenderRequest],
    tmp_path: Path,
) -> None:
    kind, model = RENDERERS[family], family_folder(family)
    lora = str(save_lora(tmp_path, model))
    request = make_request(("a red cat", (0.1, 0.1, 0.6, 0.6)), size=(64, 64))
    pictures = []
    for weight in (None, 0.0, 1.0, 2.0):
        loras = [] if weight is None else [{"path": lora, "weight": weight}]
        options = kind.Options(model=str(model), steps=2, loras=loras)
        pictures.append(np.asarray(kind(options).render([request])[0].image).astype(int))
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
