"""One training loop for every pocket model, on accelerate: seeded, resumable, any device."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from threedis_core.atomic import write_atomically
from threedis_core.errors import OptionError
from threedis_core.progress import Progress, silent


class Task(nn.Module, ABC):
    """What is trained: parameters, a batch for every step, and a loss."""

    @abstractmethod
    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Inputs of ``forward`` for one step, on the CPU."""

    @abstractmethod
    def forward(self, **batch: Tensor) -> Tensor:
        """The loss, a scalar."""


def processes() -> PartialState:
    """The processes of this training; without a GPU they must be told to meet on the CPU."""
    return PartialState(cpu=not torch.cuda.is_available())


@dataclass(frozen=True)
class Settings:
    """How long and how fast: everything but the task."""

    steps: int
    batch: int
    lr: float
    seed: int = 0
    warmup: int = 100
    ema: float = 0.999
    clip: float = 1.0
    weight_decay: float = 0.01
    save_every: int = 250


def _newest(folder: Path) -> Path | None:
    saved = [p for p in folder.glob("step-*") if (p / "complete").exists()]
    return max(saved, key=lambda p: int(p.name.removeprefix("step-")), default=None)


def _save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Keep the newest checkpoint only; it counts once its ``complete`` file is there."""
    accelerator.wait_for_everyone()
    target = folder / f"step-{step}"
    accelerator.save_state(str(target), safe_serialization=False)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (target / "complete").touch()
        for old in folder.glob("step-*"):
            if old != target:
                _remove(old)


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _remember(settings: Settings, processes: int, folder: Path, write: bool) -> None:
    """Keep what a training was started with; going on with something else is refused.

    Raises:
        OptionError: ``folder`` holds a training with other settings.
    """
    now = {**asdict(settings), "processes": processes}
    path = folder / "settings.json"
    before = json.loads(path.read_text()) if path.exists() else now
    if before != now:
        changed = ", ".join(
            f"{k} {before.get(k)} -> {now[k]}" for k in now if now[k] != before.get(k)
        )
        raise OptionError(
            f"{folder} holds a training with other settings ({changed}); "
            "go on with the same ones, or train in another folder"
        )
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(now, indent=1) + "\n").encode())


def _step_rng(settings: Settings, step: int, rank: int) -> torch.Generator:
    """The batch of a step depends on the seed, the step and the process alone."""
    return torch.Generator().manual_seed((settings.seed * 1_000_003 + step) * 64 + rank)


def fit(task: Task, settings: Settings, folder: Path, progress: Progress = silent) -> Task:
    """Train ``task`` and return it, on the CPU, with its averaged (EMA) weights.

    A run that was killed goes on from the newest checkpoint in ``folder`` and takes the same
    steps an unbroken run takes. Several processes (``torchrun``) average their gradients; the
    batch size is per process.

    Raises:
        OptionError: ``folder`` holds a training with other settings.
    """
    accelerator = Accelerator(cpu=processes().device.type == "cpu")
    set_seed(settings.seed)
    parameters = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, settings.warmup, settings.steps)
    model, optimizer = accelerator.prepare(task, optimizer)
    ema = EMAModel(parameters, decay=settings.ema, use_ema_warmup=True, power=0.75)
    accelerator.register_for_checkpointing(ema, schedule)
    _remember(settings, accelerator.num_processes, folder, accelerator.is_main_process)
    newest = _newest(folder)
    start = 0
    if newest is not None:
        accelerator.load_state(str(newest))
        start = int(newest.name.removeprefix("step-"))
    ema.to(accelerator.device)
    log = _Log(folder / "log.jsonl", accelerator.is_main_process)
    for step in range(start, settings.steps):
        rng = _step_rng(settings, step, accelerator.process_index)
        batch = {k: v.to(accelerator.device) for k, v in task.batch(settings.batch, rng).items()}
        torch.manual_seed(settings.seed * 7_919 + step)
        loss = model(**batch)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        ema.step(parameters)
        log.add(step + 1, loss)
        if accelerator.is_main_process:
            progress("train", step + 1, settings.steps)
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _save(accelerator, folder, step + 1)
    ema.copy_to(parameters)
    return task.to("cpu").eval()


class _Log:
    """Mean loss of every 25 steps, one JSON line each, with the time."""

    def __init__(self, path: Path, active: bool) -> None:
        self.path, self.active = path, active
        self.losses: list[float] = []

    def add(self, step: int, loss: Tensor) -> None:
        self.losses.append(float(loss.detach()))
        if self.active and step % 25 == 0:
            row = {"step": step, "loss": sum(self.losses) / len(self.losses), "time": time.time()}
            self.losses.clear()
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
