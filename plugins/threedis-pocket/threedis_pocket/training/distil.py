"""The recipes of the students of the shipped pocket-flux: see ``students.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from diffusers import (
    QwenImageControlNetModel,
    QwenImageTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    ZImageControlNetModel,
    ZImageTransformer2DModel,
)

from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.flux_controlnet_models import build_flux_controlnet
from threedis_pocket.qwen_image_models import (
    build_qwen_image_controlnet,
    build_qwen_image_transformer,
    build_qwen_image_vae,
)
from threedis_pocket.sd3_models import build_sd3_controlnet, build_sd3_transformer
from threedis_pocket.training import shipped
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.qwen_image import QwenImageTask, QwenVaeTask
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.students import FluxControlNetTask, SD3Task
from threedis_pocket.training.work import (
    load_qwen,
    load_qwen_vl,
    save_part,
    student_pictures,
    student_sets,
)
from threedis_pocket.training.z_image import ZImageTask
from threedis_pocket.z_image_models import (
    build_z_image_controlnet,
    build_z_image_transformer,
    give_back,
)
from threedis_train.engine import fit
from threedis_train.settings import TrainingSettings

FLUX_CONTROLNET = TrainingSettings(
    steps=600, batch_size=12, learning_rate=1e-3, ema=0.99, warmup=30, precision="bf16"
)
SD35 = TrainingSettings(
    steps=4600, batch_size=8, learning_rate=2e-3, ema=0.998, warmup=100, precision="bf16"
)
SD35_FINE = TrainingSettings(
    steps=2000, batch_size=12, learning_rate=1.5e-3, ema=0.998, warmup=50, precision="bf16"
)
MOST_LATENTS = 4 * 40 * 40
Z_IMAGE = TrainingSettings(
    steps=1500, batch_size=8, learning_rate=2e-3, ema=0.995, warmup=100, precision="bf16"
)
Z_IMAGE_FINE = TrainingSettings(
    steps=7000, batch_size=8, learning_rate=2e-3, ema=0.998, warmup=50, precision="bf16"
)
QWEN_VAE = TrainingSettings(
    steps=1500, batch_size=8, learning_rate=3e-3, ema=0.99, precision="bf16"
)
QWEN_IMAGE = TrainingSettings(
    steps=7000, batch_size=8, learning_rate=2e-3, ema=0.998, warmup=100, precision="bf16"
)
QWEN_IMAGE_FINE = TrainingSettings(
    steps=1500, batch_size=8, learning_rate=1.2e-3, ema=0.995, warmup=30, precision="bf16"
)


def train_flux_controlnet(
    work: Path, settings: TrainingSettings = FLUX_CONTROLNET, progress: Progress = silent
) -> Path:
    """Train FLUX.1's kind of transformer and its ControlNet; save both in ``flux-controlnet``."""
    sets = student_sets(work, shipped.flux_vae(), progress)
    set_seed(settings.seed)
    teacher = shipped.flux_transformer()
    transformer, controlnet = build_flux_controlnet(teacher)
    texts = shipped.clip(), shipped.t5()
    task = FluxControlNetTask(teacher, controlnet, transformer, *texts, sets)
    return _train(task, work / "flux-controlnet", settings, progress)


def train_sd35(work: Path, settings: TrainingSettings = SD35, progress: Progress = silent) -> Path:
    """Train SD3.5's transformer and ControlNet; save both in ``sd35``."""
    set_seed(settings.seed)
    models = build_sd3_controlnet(), shipped.open_clip()[0], build_sd3_transformer()
    return _train_sd35(work, "sd35", models, settings, progress)


def train_sd35_fine(
    work: Path, settings: TrainingSettings = SD35_FINE, progress: Progress = silent
) -> Path:
    """Both go on, from a high learning rate again; save them in ``sd35-fine``."""
    set_seed(settings.seed)
    kinds = SD3ControlNetModel, SD3Transformer2DModel
    controlnet, transformer = _trained(work / "sd35", *kinds)
    models = controlnet, shipped.open_clip()[0], transformer
    return _train_sd35(work, "sd35-fine", models, settings, progress)


def _train_sd35(
    work: Path, name: str, models: Any, settings: TrainingSettings, progress: Progress
) -> Path:
    sets = student_sets(work, shipped.flux_vae(), progress)
    texts = shipped.clip(), shipped.t5()
    task = SD3Task(shipped.flux_transformer(), *models, *texts, sets)
    return _train(task, work / name, settings, progress)


def train_z_image(
    work: Path, settings: TrainingSettings = Z_IMAGE, progress: Progress = silent
) -> Path:
    """Train Z-Image's transformer and ControlNet; save both in ``z-image``."""
    set_seed(settings.seed)
    models = build_z_image_controlnet(), load_qwen(work), build_z_image_transformer()
    return _train_z_image(work, "z-image", models, settings, progress)


def train_z_image_fine(
    work: Path, settings: TrainingSettings = Z_IMAGE_FINE, progress: Progress = silent
) -> Path:
    """Both go on, from a high learning rate again; save them in ``z-image-fine``."""
    set_seed(settings.seed)
    kinds = ZImageControlNetModel, ZImageTransformer2DModel
    controlnet, transformer = _trained(work / "z-image", *kinds)
    models = controlnet, load_qwen(work), transformer
    return _train_z_image(work, "z-image-fine", models, settings, progress)


def _train_z_image(
    work: Path, name: str, models: Any, settings: TrainingSettings, progress: Progress
) -> Path:
    sets = _smaller(student_sets(work, shipped.flux_vae(), progress))
    texts = shipped.clip(), shipped.t5()
    task = ZImageTask(shipped.flux_transformer(), *models, *texts, sets)
    fit(task, settings, work / name, progress)
    give_back(task.controlnet)
    return _save(task, work / name)


def train_qwen_vae(
    work: Path, settings: TrainingSettings = QWEN_VAE, progress: Progress = silent
) -> Path:
    """Train Qwen-Image's autoencoder on pocket-flux's latents; save it as ``qwen-vae/model``."""
    sets = student_pictures(work, progress)
    set_seed(settings.seed)
    task = QwenVaeTask(build_qwen_image_vae(), shipped.flux_vae(), sets)
    fit(task, settings, work / "qwen-vae", progress)
    return save_part(task.vae, work / "qwen-vae" / "model")


def train_qwen_image(
    work: Path, settings: TrainingSettings = QWEN_IMAGE, progress: Progress = silent
) -> Path:
    """Train Qwen-Image's transformer and ControlNet; save both in ``qwen-image``."""
    set_seed(settings.seed)
    models = build_qwen_image_controlnet(), load_qwen_vl(work), build_qwen_image_transformer()
    return _train_qwen_image(work, "qwen-image", models, settings, progress)


def train_qwen_image_fine(
    work: Path, settings: TrainingSettings = QWEN_IMAGE_FINE, progress: Progress = silent
) -> Path:
    """Both go on, from a higher learning rate again; save them in ``qwen-image-fine``."""
    set_seed(settings.seed)
    kinds = QwenImageControlNetModel, QwenImageTransformer2DModel
    controlnet, transformer = _trained(work / "qwen-image", *kinds)
    models = controlnet, load_qwen_vl(work), transformer
    return _train_qwen_image(work, "qwen-image-fine", models, settings, progress)


def _train_qwen_image(
    work: Path, name: str, models: Any, settings: TrainingSettings, progress: Progress
) -> Path:
    sets = _smaller(student_sets(work, shipped.flux_vae(), progress))
    texts = shipped.clip(), shipped.t5()
    task = QwenImageTask(shipped.flux_transformer(), *models, *texts, sets)
    return _train(task, work / name, settings, progress)


def _trained(folder: Path, controlnet: Any, transformer: Any) -> tuple[Any, Any]:
    """The models of these classes that lie in ``folder``."""
    return (
        load_part(controlnet, folder / "controlnet"),
        load_part(transformer, folder / "transformer"),
    )


def _smaller(sets: list[LatentSet]) -> list[LatentSet]:
    """Those of pictures of at most 160x160 pixels: half the others' time."""
    return [one for one in sets if one.latents[0].size <= MOST_LATENTS]


def _train(
    task: FluxControlNetTask | SD3Task | QwenImageTask,
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
) -> Path:
    fit(task, settings, folder, progress)
    return _save(task, folder)


def _save(task: FluxControlNetTask | SD3Task | ZImageTask | QwenImageTask, folder: Path) -> Path:
    save_part(task.controlnet, folder / "controlnet")
    return save_part(task.transformer, folder / "transformer")
