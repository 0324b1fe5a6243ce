"""The recipes of the U-Nets and their ControlNets: SD1.5 first, the others from its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def train_sd15(work: Path, settings: TrainingSettings = SD15, progress: Progress = silent) -> Path:
    """Train U-Net and ControlNet together on the VAE's latents; save both under ``work/sd15``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet = build_unet()
        return DiffusionTask(unet, build_controlnet(unet), *load_text(work), sets)

    return _train_unet(task, work, "sd15", settings, progress)


def train_sd21(work: Path, settings: TrainingSettings = SD21, progress: Progress = silent) -> Path:
    """The same for SD2.1, from SD1.5's weights where they fit; save both under ``work/sd21``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sd21_unet(), work)
        encoder, tokenizer = load_openclip(work)
        return DiffusionTask(unet, controlnet, penultimate(encoder), tokenizer, sets)

    return _train_unet(task, work, "sd21", settings, progress)


def train_sdxl(work: Path, settings: TrainingSettings = SDXL, progress: Progress = silent) -> Path:
    """The same for SDXL, from SD1.5's weights where they fit; save both under ``work/sdxl``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sdxl_unet(), work)
        encoder, tokenizer = load_text(work)
        encoder_2, _ = load_openclip(work)
        return SDXLTask(unet, controlnet, encoder, encoder_2, tokenizer, sets)

    return _train_unet(task, work, "sdxl", settings, progress)


def _train_unet(
    make_task: Callable[[Sequence[LatentSet]], DiffusionTask],
    work: Path,
    name: str,
    settings: TrainingSettings,
    progress: Progress,
    sets: Sequence[LatentSet] | None = None,
) -> Path:
    sets = sets or [square_set(work, "vae", progress)]
    set_seed(settings.seed)
    task = make_task(sets)
    fit(task, settings, work / name, progress)
    save_part(task.controlnet, work / name / "controlnet")
    return save_part(task.unet, work / name / "unet")


def train_sd15_wild(
    work: Path, settings: TrainingSettings = SD15_WILD, progress: Progress = silent
) -> Path:
    """SD1.5's U-Net and ControlNet go on with wild pictures; saved under ``work/sd15-wild``."""
    return _go_on_sd15(work, "sd15", "sd15-wild", settings, progress)


def train_sd15_fine(
    work: Path, settings: TrainingSettings = SD15_FINE, progress: Progress = silent
) -> Path:
    """They go on once more, now for the shapes of small objects; saved under ``work/sd15-fine``."""
    return _go_on_sd15(work, "sd15-wild", "sd15-fine", settings, progress, fine=True)


def _go_on_sd15(
    work: Path,
    start: str,
    name: str,
    settings: TrainingSettings,
    progress: Progress,
    fine: bool = False,
) -> Path:
    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        return DiffusionTask(*_trained(work, start), *load_text(work), sets, True, fine)

    return _train_unet(task, work, name, settings, progress, wild_sets(work, "vae", progress))


def train_sd21_wild(
    work: Path, settings: TrainingSettings = SD21_WILD, progress: Progress = silent
) -> Path:
    """The same for SD2.1, from SD1.5's but for what reads the text, which is its own."""
    return _go_on_sd21(work, ("sd21", "sd15-wild"), "sd21-wild", settings, progress)


def train_sd21_fine(
    work: Path, settings: TrainingSettings = SD21_FINE, progress: Progress = silent
) -> Path:
    """The same once more."""
    starts = "sd21-wild", "sd15-fine"
    return _go_on_sd21(work, starts, "sd21-fine", settings, progress, fine=True)


def _go_on_sd21(
    work: Path,
    starts: tuple[str, str],
    name: str,
    settings: TrainingSettings,
    progress: Progress,
    fine: bool = False,
) -> Path:
    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        encoder, tokenizer = load_openclip(work)
        parts = _with_body_of(work, *starts)
        return DiffusionTask(*parts, penultimate(encoder), tokenizer, sets, True, fine)

    return _train_unet(task, work, name, settings, progress, wild_sets(work, "vae", progress))


def train_sdxl_wild(
    work: Path, settings: TrainingSettings = SDXL_WILD, progress: Progress = silent
) -> Path:
    """The same for SDXL."""
    return _go_on_sdxl(work, ("sdxl", "sd15-wild"), "sdxl-wild", settings, progress)


def train_sdxl_fine(
    work: Path, settings: TrainingSettings = SDXL_FINE, progress: Progress = silent
) -> Path:
    """The same once more."""
    starts = "sdxl-wild", "sd15-fine"
    return _go_on_sdxl(work, starts, "sdxl-fine", settings, progress, fine=True)


def _go_on_sdxl(
    work: Path,
    starts: tuple[str, str],
    name: str,
    settings: TrainingSettings,
    progress: Progress,
    fine: bool = False,
) -> Path:
    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        encoder, tokenizer = load_text(work)
        encoder_2, _ = load_openclip(work)
        parts = _with_body_of(work, *starts)
        return SDXLTask(*parts, encoder, encoder_2, tokenizer, sets, True, fine)

    return _train_unet(task, work, name, settings, progress, wild_sets(work, "vae", progress))


def _with_body_of(work: Path, own: str, donor: str) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """A family's own models with a donor's weights where they fit; its text layers stay."""
    unet, controlnet = _trained(work, own)
    unet_donor, controlnet_donor = _trained(work, donor)
    start_from(unet, unet_donor, fresh=False)
    start_from(controlnet, controlnet_donor, fresh=False)
    return unet, controlnet


def _trained(work: Path, name: str) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """A recipe's U-Net and ControlNet."""
    folder = work / name
    return (
        load_part(UNet2DConditionModel, folder / "unet"),
        load_part(ControlNetModel, folder / "controlnet"),
    )


def _from_sd15(
    unet: UNet2DConditionModel, work: Path
) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """``unet`` and its ControlNet, both started from the trained SD1.5's."""
    controlnet = build_controlnet(unet)
    donor = work / "sd15"
    start_from(unet, load_part(UNet2DConditionModel, donor / "unet"))
    start_from(controlnet, load_part(ControlNetModel, donor / "controlnet"))
    return unet, controlnet
