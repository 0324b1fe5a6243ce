"""The parts of the shipped models that other trainings start from, in float32."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5EncoderModel,
    T5TokenizerFast,
)

from threedis_pocket.training.parts import load_part
from threedis_pocket.training.vae import load_vae

WEIGHTS = Path(__file__).parents[1] / "weights"
FLUX, SDXL = WEIGHTS / "pocket-flux", WEIGHTS / "pocket-sdxl"


def flux_transformer() -> FluxTransformer2DModel:
    """pocket-flux's transformer."""
    folder = FLUX / "transformer"
    return load_part(FluxTransformer2DModel, folder, torch_dtype=torch.float32)


def flux_vae() -> AutoencoderKL:
    """pocket-flux's autoencoder."""
    return load_vae(FLUX / "vae")


def clip() -> tuple[CLIPTextModel, CLIPTokenizer]:
    """pocket-flux's CLIP text encoder and its tokenizer."""
    return (
        load_part(CLIPTextModel, FLUX / "text_encoder").float(),
        CLIPTokenizer.from_pretrained(FLUX / "tokenizer"),
    )


def t5() -> tuple[T5EncoderModel, T5TokenizerFast]:
    """pocket-flux's T5 encoder and its tokenizer."""
    return (
        load_part(T5EncoderModel, FLUX / "text_encoder_2").float(),
        T5TokenizerFast.from_pretrained(FLUX / "tokenizer_2"),
    )


def open_clip() -> tuple[CLIPTextModelWithProjection, CLIPTokenizer]:
    """pocket-sdxl's OpenCLIP text encoder, whole, and its tokenizer."""
    return (
        load_part(CLIPTextModelWithProjection, SDXL / "text_encoder_2").float(),
        CLIPTokenizer.from_pretrained(SDXL / "tokenizer_2"),
    )
