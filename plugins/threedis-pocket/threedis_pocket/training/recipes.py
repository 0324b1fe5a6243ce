"""The recipes behind the shipped weights: one command each, from the seed to the folder.

vae, flux-vae, depth-vae: pictures -> autoencoder. text, openclip, t5: captions -> a text encoder
that binds colours to shapes. sd15, sd21, sdxl: latents, depth, captions -> U-Net and ControlNet.
flux: latents, depth, captions -> transformer; flux-guided: distils guidance into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import set_seed
from diffusers import AutoencoderKL, ControlNetModel, FluxTransformer2DModel, UNet2DConditionModel
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    T5EncoderModel,
    T5TokenizerFast,
)

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.flux_models import build_flux_transformer, build_flux_vae
from threedis_pocket.models import (
    build_controlnet,
    build_depth_vae,
    build_open_text_encoder,
    build_sd21_unet,
    build_sdxl_unet,
    build_t5,
    build_text_encoder,
    build_unet,
    build_vae,
    penultimate,
    start_from,
)
from threedis_pocket.t5_tokenizer import build_t5_tokenizer
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training.data import Pictures, pictures
from threedis_pocket.training.diffusion import (
    DiffusionTask,
    SDXLTask,
    encode_depth,
    encode_latents,
)
from threedis_pocket.training.flow import FlowTask, GuidedTask
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.text import OpenClipTask, T5Task, TextTask
from threedis_pocket.training.vae import VaeTask, load_vae, normalise_latents
from threedis_train.engine import fit, processes
from threedis_train.settings import TrainingSettings

PICTURES = 12288
VAE = TrainingSettings(steps=2400, batch_size=8, learning_rate=2e-3, ema=0.995)
FLUX_VAE = TrainingSettings(steps=1800, batch_size=8, learning_rate=2e-3, ema=0.995)
DEPTH_VAE = TrainingSettings(steps=1200, batch_size=8, learning_rate=2e-3, ema=0.995)
TEXT = TrainingSettings(steps=500, batch_size=96, learning_rate=1e-3, ema=0.995)
OPENCLIP = TrainingSettings(steps=600, batch_size=96, learning_rate=1e-3, ema=0.995)
T5 = TrainingSettings(steps=400, batch_size=96, learning_rate=3e-3, ema=0.995)
SD21 = TrainingSettings(steps=600, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
SDXL = TrainingSettings(steps=450, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
FLUX = TrainingSettings(steps=2400, batch_size=16, learning_rate=1.5e-3, ema=0.998, warmup=150)
FLUX_GUIDED = TrainingSettings(steps=400, batch_size=10, learning_rate=8e-4, ema=0.99, warmup=30)
SD15 = TrainingSettings(steps=3600, batch_size=16, learning_rate=1.2e-3, ema=0.998, warmup=200)


def train_pictures(work: Path, progress: Progress = silent) -> Pictures:
    """The training pictures, drawn once under ``work/data``."""
    with processes().main_process_first():
        return pictures(work / "data", "train", PICTURES, progress)


def train_vae(work: Path, settings: TrainingSettings = VAE, progress: Progress = silent) -> Path:
    """Train the U-Nets' autoencoder; save it as ``work/vae/model``."""
    data = train_pictures(work, progress)
    return _train_vae(build_vae, 0.0, data, work / "vae", settings, progress)


def train_flux_vae(
    work: Path, settings: TrainingSettings = FLUX_VAE, progress: Progress = silent
) -> Path:
    """Train FLUX's autoencoder on pictures and depth maps; save it as ``work/flux-vae/model``."""
    data = train_pictures(work, progress)
    return _train_vae(build_flux_vae, 0.2, data, work / "flux-vae", settings, progress)


def train_depth_vae(
    work: Path, settings: TrainingSettings = DEPTH_VAE, progress: Progress = silent
) -> Path:
    """Train the depth model's autoencoder on depth maps; save it as ``work/depth-vae/model``."""
    data = train_pictures(work, progress)
    depth = replace(data, rgb=data.depth[..., None])  # pictures of one channel
    return _train_vae(build_depth_vae, 0.0, depth, work / "depth-vae", settings, progress)


def _train_vae(
    build: Callable[[], AutoencoderKL],
    depth_share: float,
    data: Pictures,
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
) -> Path:
    """Train an autoencoder and normalise its latents."""
    set_seed(settings.seed)
    vae = build()
    fit(VaeTask(vae, data, depth_share), settings, folder, progress)
    normalise_latents(vae, data)
    return _save(vae, folder / "model")


def train_text(work: Path, settings: TrainingSettings = TEXT, progress: Progress = silent) -> Path:
    """Train CLIP's text encoder; save it and its tokenizer under ``work/text``."""
    tokenizer = build_tokenizer()
    ids = len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    build = partial(build_text_encoder, *ids)
    return _train_text(TextTask, build, tokenizer, work / "text", settings, progress)


def train_openclip(
    work: Path, settings: TrainingSettings = OPENCLIP, progress: Progress = silent
) -> Path:
    """Train the text encoder of SD2.1 and SDXL; save it as ``work/openclip/text_encoder``."""
    tokenizer = build_tokenizer()
    ids = len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    build = partial(build_open_text_encoder, *ids)
    return _train_text(OpenClipTask, build, tokenizer, work / "openclip", settings, progress)


def train_t5(work: Path, settings: TrainingSettings = T5, progress: Progress = silent) -> Path:
    """Train FLUX's T5; save it and its tokenizer under ``work/t5``."""
    tokenizer = build_t5_tokenizer()
    build = partial(build_t5, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    return _train_text(T5Task, build, tokenizer, work / "t5", settings, progress)


def _train_text(
    task: type[TextTask],
    build: Callable[[], Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
) -> Path:
    """Train a text encoder; save it beside its tokenizer."""
    set_seed(settings.seed)
    encoder = build()
    fit(task(encoder, tokenizer), settings, folder, progress)
    _save(tokenizer, folder / "tokenizer")
    return _save(encoder, folder / "text_encoder")


def train_sd15(work: Path, settings: TrainingSettings = SD15, progress: Progress = silent) -> Path:
    """Train U-Net and ControlNet together on the VAE's latents; save both under ``work/sd15``."""

    def task(data: Pictures, latents: np.ndarray) -> DiffusionTask:
        unet = build_unet()
        return DiffusionTask(unet, build_controlnet(unet), *load_text(work), data, latents)

    return _train_unet(task, work, "sd15", settings, progress)


def train_sd21(work: Path, settings: TrainingSettings = SD21, progress: Progress = silent) -> Path:
    """The same for SD2.1, from SD1.5's weights where they fit; save both under ``work/sd21``."""

    def task(data: Pictures, latents: np.ndarray) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sd21_unet(), work)
        encoder, tokenizer = load_openclip(work)
        return DiffusionTask(unet, controlnet, penultimate(encoder), tokenizer, data, latents)

    return _train_unet(task, work, "sd21", settings, progress)


def train_sdxl(work: Path, settings: TrainingSettings = SDXL, progress: Progress = silent) -> Path:
    """The same for SDXL, from SD1.5's weights where they fit; save both under ``work/sdxl``."""

    def task(data: Pictures, latents: np.ndarray) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sdxl_unet(), work)
        encoder, tokenizer = load_text(work)
        encoder_2, _ = load_openclip(work)
        return SDXLTask(unet, controlnet, encoder, encoder_2, tokenizer, data, latents)

    return _train_unet(task, work, "sdxl", settings, progress)


def _train_unet(
    make_task: Callable[[Pictures, np.ndarray], DiffusionTask],
    work: Path,
    name: str,
    settings: TrainingSettings,
    progress: Progress,
) -> Path:
    data = train_pictures(work, progress)
    vae = load_vae(work / "vae" / "model")
    with processes().main_process_first():
        latents = encode_latents(vae, data, work, progress)
    set_seed(settings.seed)
    task = make_task(data, latents)
    fit(task, settings, work / name, progress)
    _save(task.controlnet, work / name / "controlnet")
    return _save(task.unet, work / name / "unet")


def _from_sd15(
    unet: UNet2DConditionModel, work: Path
) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """``unet`` and its ControlNet, both started from the trained SD1.5's."""
    controlnet = build_controlnet(unet)
    donor = work / "sd15"
    start_from(unet, load_part(UNet2DConditionModel, donor / "unet"))
    start_from(controlnet, load_part(ControlNetModel, donor / "controlnet"))
    return unet, controlnet


def train_flux(work: Path, settings: TrainingSettings = FLUX, progress: Progress = silent) -> Path:
    """Train FLUX's transformer on its VAE's latents and depth; save it as ``work/flux/model``."""
    parts = _flux_parts(work, progress)
    set_seed(settings.seed)
    task = FlowTask(build_flux_transformer(), *parts)
    fit(task, settings, work / "flux", progress)
    return _save(task.transformer, work / "flux" / "model")


def train_flux_guided(
    work: Path, settings: TrainingSettings = FLUX_GUIDED, progress: Progress = silent
) -> Path:
    """Distil guidance into the trained transformer; save it as ``work/flux-guided/model``."""
    parts = _flux_parts(work, progress)
    set_seed(settings.seed)
    teacher, student = (
        load_part(FluxTransformer2DModel, work / "flux" / "model") for _ in range(2)
    )
    task = GuidedTask(teacher, student, *parts)
    fit(task, settings, work / "flux-guided", progress)
    return _save(task.transformer, work / "flux-guided" / "model")


def _flux_parts(work: Path, progress: Progress) -> tuple[Any, ...]:
    """What FLUX's tasks take beside the transformer."""
    vae = load_vae(work / "flux-vae" / "model")
    data = train_pictures(work, progress)
    with processes().main_process_first():
        latents = encode_latents(vae, data, work, progress)
        depth = encode_depth(vae, data, work, progress)
    return load_text(work), load_t5(work), data.scenes, latents, depth


def require(work: Path, *parts: str) -> None:
    """See that trained parts are there.

    Raises:
        OptionError: One is not, and what to train.
    """
    for part in parts:
        if not (work / part).exists():
            recipe = part.split("/")[0]
            raise OptionError(
                f"{work / part} is not there; train it first: "
                f"threedis pocket train {recipe} --work {work}"
            )


@dataclass(frozen=True)
class Recipe:
    """How one part is trained.

    Args:
        train: Called with the work folder, the settings and a progress callback.
        settings: The shipped weights' own.
        needs: Trained parts that must be in the work folder.
    """

    train: Callable[[Path, TrainingSettings, Progress], Path]
    settings: TrainingSettings
    needs: tuple[str, ...] = ()


_FLUX_NEEDS = ("flux-vae/model", "text/text_encoder", "t5/text_encoder")
RECIPES: dict[str, Recipe] = {
    "vae": Recipe(train_vae, VAE),
    "text": Recipe(train_text, TEXT),
    "openclip": Recipe(train_openclip, OPENCLIP),
    "t5": Recipe(train_t5, T5),
    "flux-vae": Recipe(train_flux_vae, FLUX_VAE),
    "depth-vae": Recipe(train_depth_vae, DEPTH_VAE),
    "sd15": Recipe(train_sd15, SD15, ("vae/model", "text/text_encoder")),
    "sd21": Recipe(train_sd21, SD21, ("vae/model", "openclip/text_encoder", "sd15/unet")),
    "sdxl": Recipe(
        train_sdxl,
        SDXL,
        ("vae/model", "text/text_encoder", "openclip/text_encoder", "sd15/unet"),
    ),
    "flux": Recipe(train_flux, FLUX, _FLUX_NEEDS),
    "flux-guided": Recipe(train_flux_guided, FLUX_GUIDED, (*_FLUX_NEEDS, "flux/model")),
}
"""Every recipe by name, each after those it needs."""


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
        OptionError: A model that this one builds on has not been trained in ``work`` yet, or a
            setting does not fit.
    """
    recipe = RECIPES[name]
    require(work, *recipe.needs)
    changes = {k: v for k, v in {"steps": steps, "seed": seed}.items() if v is not None}
    told = {**recipe.settings.model_dump(), **changes}
    settings = validate_options(TrainingSettings, told, f"recipe '{name}'")
    return recipe.train(work, settings, progress)


def load_text(work: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The trained CLIP text encoder and its tokenizer."""
    return (
        load_part(CLIPTextModel, work / "text" / "text_encoder"),
        CLIPTokenizer.from_pretrained(work / "text" / "tokenizer"),
    )


def load_openclip(work: Path) -> tuple[CLIPTextModelWithProjection, CLIPTokenizer]:
    """The trained OpenCLIP text encoder, whole, and its tokenizer."""
    return (
        load_part(CLIPTextModelWithProjection, work / "openclip" / "text_encoder"),
        CLIPTokenizer.from_pretrained(work / "openclip" / "tokenizer"),
    )


def load_t5(work: Path) -> tuple[T5EncoderModel, PreTrainedTokenizerBase]:
    """The trained T5 encoder and its tokenizer."""
    return (
        load_part(T5EncoderModel, work / "t5" / "text_encoder"),
        T5TokenizerFast.from_pretrained(work / "t5" / "tokenizer"),
    )


def _save(part: Any, folder: Path) -> Path:
    """Save a model or tokenizer once, whatever the number of processes."""
    if processes().is_main_process:
        part.save_pretrained(folder)
    processes().wait_for_everyone()
    return folder
