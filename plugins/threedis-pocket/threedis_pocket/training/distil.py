"""The recipes of the students of the shipped pocket-flux: see ``students.py``."""

from __future__ import annotations

from pathlib import Path

from accelerate.utils import set_seed

from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.flux_controlnet_models import build_flux_controlnet
from threedis_pocket.sd3_models import build_sd3_controlnet, build_sd3_transformer
from threedis_pocket.training import shipped
from threedis_pocket.training.students import FluxControlNetTask, SD3Task
from threedis_pocket.training.work import save_part, student_sets
from threedis_train.engine import fit
from threedis_train.settings import TrainingSettings

FLUX_CONTROLNET = TrainingSettings(
    steps=600, batch_size=12, learning_rate=1e-3, ema=0.99, warmup=30, precision="bf16"
)
SD35 = TrainingSettings(
    steps=2400, batch_size=16, learning_rate=2e-3, ema=0.998, warmup=100, precision="bf16"
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
    sets = student_sets(work, shipped.flux_vae(), progress)
    set_seed(settings.seed)
    models = build_sd3_controlnet(), shipped.open_clip()[0], build_sd3_transformer()
    texts = shipped.clip(), shipped.t5()
    task = SD3Task(shipped.flux_transformer(), *models, *texts, sets)
    return _train(task, work / "sd35", settings, progress)


def _train(
    task: FluxControlNetTask | SD3Task, folder: Path, settings: TrainingSettings, progress: Progress
) -> Path:
    fit(task, settings, folder, progress)
    save_part(task.controlnet, folder / "controlnet")
    return save_part(task.transformer, folder / "transformer")
