"""Tiny real models: the golden U-Net with its adapter, and a whole random LDM3D."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionLDM3DPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_ldm3d.checkpoint import load_adapter, save_adapter
from threedis_ldm3d.layout_adapter import LayoutAdapter

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def unet() -> UNet2DConditionModel:
    """The U-Net of the ``adapter_forward`` cases, float32."""
    facts = json.loads((GOLDEN / "adapter_unet.json").read_text("utf-8"))
    unet = UNet2DConditionModel(**facts).eval().requires_grad_(False)
    weights = load_file(GOLDEN / "adapter_unet.safetensors")
    unet.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return unet


@pytest.fixture(scope="session")
def adapter(unet: UNet2DConditionModel) -> LayoutAdapter:
    return load_adapter(GOLDEN / "adapter.safetensors", unet)


def tiny_unet() -> UNet2DConditionModel:
    """A U-Net that reads the golden text encoder's embeddings."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 24),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=2,
        layers_per_block=1,
        norm_num_groups=8,
    )


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LDM3D in small, random: a VAE of four channels, and an adapter with open gates."""
    torch.manual_seed(0)
    parts = GOLDEN / "sd15_pipe"
    vae = AutoencoderKL(
        in_channels=4,
        out_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=8,
    )
    vae.decoder.conv_out.weight.data *= 0.1  # so that little of its pictures is clipped
    unet = tiny_unet()
    pipeline = StableDiffusionLDM3DPipeline(
        vae=vae,
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=torch.float32),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny-ldm3d"
    pipeline.save_pretrained(folder)
    adapter = LayoutAdapter.for_unet(unet)
    for name, weight in adapter.named_parameters():
        if name.endswith(".gate"):
            weight.data.fill_(2.0)
    save_adapter(adapter, folder / "layout_adapter.safetensors")
    return folder
