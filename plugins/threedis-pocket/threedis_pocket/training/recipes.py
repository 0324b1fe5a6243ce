"""The recipes behind the shipped weights: one command each, from the seed to the folder.

vae: pictures -> autoencoder. text: captions -> a text encoder that binds colours to shapes.
sd15: latents, depth, captions -> U-Net and ControlNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_core.errors import OptionError
from threedis_core.progress import Progress, silent
from threedis_pocket.models import build_controlnet, build_text_encoder, build_unet, build_vae
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training.data import Pictures, pictures
from threedis_pocket.training.diffusion import DiffusionTask, build_scheduler, encode_latents
from threedis_pocket.training.loop import Settings, fit, processes
from threedis_pocket.training.text import TextTask
from threedis_pocket.training.vae import VaeTask, load_vae, normalise_latents

PICTURES = 12288
VAE = Settings(steps=2400, batch=8, lr=2e-3, ema=0.995)
TEXT = Settings(steps=500, batch=96, lr=1e-3, ema=0.995)
SD15 = Settings(steps=3600, batch=16, lr=1.2e-3, ema=0.998, warmup=200)


def train_pictures(work: Path, progress: Progress = silent) -> Pictures:
    """The training pictures, drawn once under ``work/data``."""
    with processes().main_process_first():
        return pictures(work / "data", "train", PICTURES, progress)


def train_vae(work: Path, settings: Settings = VAE, progress: Progress = silent) -> Path:
    """Train the autoencoder and normalise its latents; save it as ``work/vae/model``."""
    data = train_pictures(work, progress)
    set_seed(settings.seed)
    vae = build_vae()
    fit(VaeTask(vae, data), settings, work / "vae", progress)
    normalise_latents(vae, data)
    return _save(vae, work / "vae" / "model")


def train_text(work: Path, settings: Settings = TEXT, progress: Progress = silent) -> Path:
    """Train the text encoder; save it and its tokenizer under ``work/text``."""
    tokenizer = build_tokenizer()
    set_seed(settings.seed)
    encoder = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    fit(TextTask(encoder, tokenizer), settings, work / "text", progress)
    _save(tokenizer, work / "text" / "tokenizer")
    return _save(encoder, work / "text" / "text_encoder")


def train_sd15(work: Path, settings: Settings = SD15, progress: Progress = silent) -> Path:
    """Train U-Net and ControlNet together on the VAE's latents; save both under ``work/sd15``."""
    vae = load_vae(work / "vae" / "model")
    text_encoder, tokenizer = _load_text(work)
    data = train_pictures(work, progress)
    with processes().main_process_first():
        latents = encode_latents(vae, data, work, progress)
    set_seed(settings.seed)
    unet = build_unet()
    controlnet = build_controlnet(unet)
    task = DiffusionTask(unet, controlnet, text_encoder, tokenizer, data, latents)
    fit(task, settings, work / "sd15", progress)
    _save(controlnet, work / "sd15" / "controlnet")
    return _save(unet, work / "sd15" / "unet")


def export_sd15(work: Path, folder: Path) -> Path:
    """Put the trained parts together as one pipeline folder in float16 safetensors."""
    _require(work, "vae/model", "text/text_encoder", "sd15/unet", "sd15/controlnet")
    text_encoder, tokenizer = _load_text(work)
    parts = {
        "vae": load_vae(work / "vae" / "model"),
        "unet": UNet2DConditionModel.from_pretrained(work / "sd15" / "unet"),
        "controlnet": ControlNetModel.from_pretrained(work / "sd15" / "controlnet"),
    }
    for part in parts.values():
        part.register_to_config(_name_or_path="")  # where it lay while it was trained
    pipeline = StableDiffusionControlNetPipeline(
        **{name: part.half() for name, part in parts.items()},
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def _require(work: Path, *parts: str) -> None:
    for part in parts:
        if not (work / part).exists():
            recipe = part.split("/")[0]
            raise OptionError(
                f"{work / part} is not there; train it first: "
                f"threedis pocket train {recipe} --work {work}"
            )


_RECIPES: dict[str, tuple[Callable[..., Path], Settings]] = {
    "vae": (train_vae, VAE),
    "text": (train_text, TEXT),
    "sd15": (train_sd15, SD15),
}
_NEEDS = {
    "vae": (),
    "text": (),
    "sd15": ("vae/model", "text/text_encoder"),
}


def run_recipe(
    name: str,
    work: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Train one model by its recipe's name; ``steps`` and ``seed`` override the recipe's.

    Raises:
        OptionError: A model that this one builds on has not been trained in ``work`` yet.
    """
    _require(work, *_NEEDS[name])
    recipe, settings = _RECIPES[name]
    changes = {k: v for k, v in {"steps": steps, "seed": seed}.items() if v is not None}
    return recipe(work, replace(settings, **changes), progress)


def _load_text(work: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    return (
        CLIPTextModel.from_pretrained(work / "text" / "text_encoder"),
        CLIPTokenizer.from_pretrained(work / "text" / "tokenizer"),
    )


def _save(part: Any, folder: Path) -> Path:
    """Save a model or tokenizer once, whatever the number of processes."""
    if processes().is_main_process:
        part.save_pretrained(folder)
    processes().wait_for_everyone()
    return folder
