"""The recipes of the U-Nets and their ControlNets: SD1.5 first, the others from its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from accelerate.utils import set_seed
from diffusers import ControlNetModel, UNet2DConditionModel

from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.models import (
    build_controlnet,
    build_sd21_unet,
    build_sdxl_unet,
    build_unet,
    penultimate,
    start_from,
)
from threedis_pocket.training.diffusion import DiffusionTask, SDXLTask
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.work import (
    load_openclip,
    load_text,
    save_part,
    square_set,
    wild_sets,
)
from threedis_train.engine import fit
from threedis_train.settings import TrainingSettings

SD15 = TrainingSettings(steps=3600, batch_size=16, learning_rate=1.2e-3, ema=0.998, warmup=200)
SD15_WILD = TrainingSettings(steps=3600, batch_size=16, learning_rate=7e-4, ema=0.998, warmup=100)
SD15_FINE = TrainingSettings(steps=3000, batch_size=16, learning_rate=7e-4, ema=0.998, warmup=100)
SD21 = TrainingSettings(steps=600, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
SD21_WILD = TrainingSettings(steps=900, batch_size=16, learning_rate=7e-4, ema=0.995, warmup=50)
SD21_FINE = TrainingSettings(steps=600, batch_size=16, learning_rate=5e-4, ema=0.995, warmup=50)
SDXL = TrainingSettings(steps=450, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
SDXL_WILD = TrainingSettings(steps=900, batch_size=16, learning_rate=7e-4, ema=0.995, warmup=50)
SDXL_FINE = TrainingSettings(steps=600, batch_size=16, learning_rate=5e-4, ema=0.995, warmup=50)


Models = tuple[UNet2DConditionModel, ControlNetModel]


def train_sd15(work: Path, settings: TrainingSettings = SD15, progress: Progress = silent) -> Path:
    """Train U-Net and ControlNet together on the VAE's latents; save both under ``work/sd15``."""

    def models() -> Models:
        unet = build_unet()
        return unet, build_controlnet(unet)

    return _train(work, "sd15", "sd15", models, settings, progress)


def train_sd21(work: Path, settings: TrainingSettings = SD21, progress: Progress = silent) -> Path:
    """The same for SD2.1, from SD1.5's weights where they fit; save both under ``work/sd21``."""
    start = partial(_from_sd15, build_sd21_unet, work)
    return _train(work, "sd21", "sd21", start, settings, progress)


def train_sdxl(work: Path, settings: TrainingSettings = SDXL, progress: Progress = silent) -> Path:
    """The same for SDXL, from SD1.5's weights where they fit; save both under ``work/sdxl``."""
    start = partial(_from_sd15, build_sdxl_unet, work)
    return _train(work, "sdxl", "sdxl", start, settings, progress)


def go_on(family: str, name: str, own: str, body: str) -> Callable[..., Path]:
    """A recipe's training: U-Net and ControlNet go on with wild pictures.

    Args:
        family: sd15, sd21 or sdxl.
        name: The new part; saved under ``work/name``. One that ends in ``-fine`` is about the
            shapes of small objects: see :class:`DiffusionTask`.
        own: The family's own trained part.
        body: The part whose weights are taken where they fit; the text layers stay ``own``'s.
    """

    def train(work: Path, settings: TrainingSettings, progress: Progress = silent) -> Path:
        start = partial(_with_body_of, work, own, body)
        return _train(work, family, name, start, settings, progress, wild=True)

    return train


def _train(
    work: Path,
    family: str,
    name: str,
    models: Callable[[], Models],
    settings: TrainingSettings,
    progress: Progress,
    wild: bool = False,
) -> Path:
    """Train a family's U-Net and ControlNet; save both under ``work/name``."""
    sets = wild_sets(work, "vae", progress) if wild else [square_set(work, "vae", progress)]
    set_seed(settings.seed)
    task = _task(work, family, models(), sets, wild, fine=name.endswith("-fine"))
    fit(task, settings, work / name, progress)
    save_part(task.controlnet, work / name / "controlnet")
    return save_part(task.unet, work / name / "unet")


def _task(
    work: Path, family: str, models: Models, sets: Sequence[LatentSet], wild: bool, fine: bool
) -> DiffusionTask:
    """The models with the text encoders that their family reads."""
    if family == "sd21":
        encoder, tokenizer = load_openclip(work)
        return DiffusionTask(*models, penultimate(encoder), tokenizer, sets, wild, fine)
    encoder, tokenizer = load_text(work)
    if family == "sdxl":
        encoder_2, _ = load_openclip(work)
        return SDXLTask(*models, encoder, encoder_2, tokenizer, sets, wild, fine)
    return DiffusionTask(*models, encoder, tokenizer, sets, wild, fine)


def _with_body_of(work: Path, own: str, donor: str) -> Models:
    """A family's own models with a donor's weights where they fit; its text layers stay."""
    unet, controlnet = _trained(work, own)
    unet_donor, controlnet_donor = _trained(work, donor)
    start_from(unet, unet_donor, fresh=False)
    start_from(controlnet, controlnet_donor, fresh=False)
    return unet, controlnet


def _from_sd15(build: Callable[[], UNet2DConditionModel], work: Path) -> Models:
    """A new U-Net and its ControlNet, both started from the trained SD1.5's."""
    unet = build()
    controlnet = build_controlnet(unet)
    unet_donor, controlnet_donor = _trained(work, "sd15")
    start_from(unet, unet_donor)
    start_from(controlnet, controlnet_donor)
    return unet, controlnet


def _trained(work: Path, name: str) -> Models:
    """A recipe's U-Net and ControlNet."""
    folder = work / name
    return (
        load_part(UNet2DConditionModel, folder / "unet"),
        load_part(ControlNetModel, folder / "controlnet"),
    )
