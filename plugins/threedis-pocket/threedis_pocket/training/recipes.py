"""The recipes behind the shipped weights: one command each, from the seed to the folder.

    vae       pictures -> autoencoder; encoder frozen from then on
    text      captions -> text encoder that binds colours to shapes
    sd15      latents, depth, captions -> U-Net and ControlNet
    decoder   the autoencoder's decoder alone, trained on for sharper pictures
"""

from __future__ import annotations

from pathlib import Path

from accelerate import PartialState
from accelerate.utils import set_seed
from diffusers import AutoencoderKL, StableDiffusionControlNetPipeline
from threedis_core.progress import Progress, silent
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_pocket.models import build_controlnet, build_text_encoder, build_unet, build_vae
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training.data import Pictures, pictures
from threedis_pocket.training.diffusion import DiffusionTask, build_scheduler, encode_latents
from threedis_pocket.training.loop import Settings, fit
from threedis_pocket.training.text import TextTask
from threedis_pocket.training.vae import VaeTask, normalise_latents

PICTURES = 12288
VAE = Settings(steps=500, batch=32, lr=2e-3, ema=0.99)
TEXT = Settings(steps=500, batch=96, lr=1e-3, ema=0.995)
SD15 = Settings(steps=4200, batch=16, lr=1.2e-3, ema=0.998, warmup=200)


def train_pictures(work: Path, progress: Progress = silent) -> Pictures:
    """The training pictures, drawn once under ``work/data``."""
    return pictures(work / "data", "train", PICTURES, progress)


def train_vae(work: Path, settings: Settings = VAE, progress: Progress = silent) -> AutoencoderKL:
    """Train the autoencoder, normalise its latents and save it as ``work/vae/model``."""
    data = train_pictures(work, progress)
    set_seed(settings.seed)
    vae = build_vae()
    fit(VaeTask(vae, data), settings, work / "vae", progress)
    normalise_latents(vae, data)
    vae.save_pretrained(work / "vae" / "model")
    return vae


def train_text(
    work: Path, settings: Settings = TEXT, progress: Progress = silent
) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Train the text encoder and save it and its tokenizer under ``work/text``."""
    tokenizer = build_tokenizer()
    set_seed(settings.seed)
    encoder = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    fit(TextTask(encoder, tokenizer), settings, work / "text", progress)
    encoder.save_pretrained(work / "text" / "text_encoder")
    tokenizer.save_pretrained(work / "text" / "tokenizer")
    return encoder, tokenizer


def train_sd15(
    work: Path, settings: Settings = SD15, progress: Progress = silent
) -> StableDiffusionControlNetPipeline:
    """Train U-Net and ControlNet on the VAE's latents; save the pipeline as ``work/sd15/model``."""
    vae = AutoencoderKL.from_pretrained(work / "vae" / "model")
    text_encoder = CLIPTextModel.from_pretrained(work / "text" / "text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(work / "text" / "tokenizer")
    with PartialState().main_process_first():
        data = train_pictures(work, progress)
        latents = encode_latents(vae, data, work / "latents.npy", progress)
    set_seed(settings.seed)
    unet = build_unet()
    controlnet = build_controlnet(unet)
    task = DiffusionTask(unet, controlnet, text_encoder, tokenizer, data, latents)
    fit(task, settings, work / "sd15", progress)
    pipeline = StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=controlnet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    if PartialState().is_main_process:
        pipeline.save_pretrained(work / "sd15" / "model")
    return pipeline
