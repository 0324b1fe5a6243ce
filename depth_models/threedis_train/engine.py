"""One training loop, on accelerate: seeded, resumable, on any number of processes and devices.

A step's batch and noise depend on the seed, the step and the process alone, so a training that was
killed and goes on takes the very steps of an unbroken one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, set_seed
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from filelock import FileLock, Timeout
from torch import Tensor, nn

from threedis_core.errors import OptionError, RenderError
from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.progress import Progress, silent
from threedis_train.checkpoints import TrainingState, newest_checkpoint, steps_of
from threedis_train.log import TrainingLog, draw_curves
from threedis_train.settings import TrainingSettings

SETTINGS = "settings.json"
Validate = Callable[[int], Mapping[str, float]]
"""Called with the number of finished steps, the averaged weights in place; gives figures to log."""
_REMEDY = "put back the file that the training wrote, or train in another folder"
_MAY_CHANGE = frozenset({"checkpoint_every", "log_every", "validation"})
"""Settings that change no weight, so that a training may go on with others."""


class Task(nn.Module, ABC):
    """What is trained: parameters, a batch for every step, and a loss.

    Only what is trained is a module of it: checkpoints hold its state.
    """

    @abstractmethod
    def batch(self, size: int, rng: torch.Generator) -> Mapping[str, Any]:
        """Inputs of ``forward`` for one step, on the CPU."""

    @abstractmethod
    def forward(self, **batch: Any) -> Tensor:
        """The loss, a scalar."""


def processes() -> PartialState:
    """The processes of this training; without an accelerator they must be told to use the CPU.

    They wait for each other as long as it takes: one may make labels for hours.
    """
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=7))


def fit(
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    progress: Progress = silent,
    validate: Validate | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Task:
    """Train ``task`` and return it, on the CPU, with its averaged (EMA) weights.

    Several processes (``torchrun``, ``accelerate launch``) average their gradients.

    Args:
        task: What to train; its parameters that require a gradient are.
        settings: How; a class that extends them may be given as it is.
        folder: Checkpoints, ``log.jsonl`` and ``settings.json`` go here; a training that it holds
            goes on.
        progress: Told about every step.
        validate: Called every ``validation.every`` steps and at the end, in the main process.
        identity: What else must be the same when a training goes on, JSON-ready.
    Raises:
        OptionError: ``folder`` holds a training with other settings, or one that is at work, or
            this machine cannot compute in that precision.
        WeightsError: The checkpoint in ``folder`` is damaged, or of another model.
        RenderError: The loss or a weight is not finite, or a checkpoint cannot be written.
    """
    check_precision(settings.precision)
    with _alone(folder):
        return _fit(_Run(task, settings, folder), progress, validate, identity or {})


def check_precision(precision: str) -> None:
    """See that this machine computes in that precision.

    Raises:
        OptionError: It does not, and what to take instead.
    """
    device = processes().device.type  # pyright: ignore[reportOptionalMemberAccess]
    if precision == "fp16" and device == "cpu":
        raise OptionError("precision is fp16, which needs a GPU; use bf16, or no")
    if precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise OptionError("precision is bf16, which this GPU does not have; use fp16, or no")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other trainings out of ``folder``."""
    if not processes().is_main_process:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise OptionError(
            f"another training is at work in {folder}; wait for it, end it, or train elsewhere"
        ) from None


def _fit(
    run: _Run, progress: Progress, validate: Validate | None, identity: Mapping[str, Any]
) -> Task:
    settings, task = run.settings, run.task
    run.remember(identity)
    start = run.resume()
    for step in range(start, settings.steps):
        losses = run.step(step)
        done = step + 1
        last = done == settings.steps
        saving = last or done % settings.checkpoint_every == 0
        run.log.add(done, losses, run.learning_rate, flush=saving)
        if run.main:
            progress("train", done, settings.steps)
        every = settings.validation.every
        if validate is not None and (last or (every is not None and done % every == 0)):
            run.show(validate, done)
        if saving:  # after the validation, which a kill in between would lose
            run.save(done)
    run.ema.copy_to(run.parameters)
    return task.to("cpu").eval()


class _Run:
    """A training at work: the task on its device, and everything a checkpoint holds."""

    def __init__(self, task: Task, settings: TrainingSettings, folder: Path) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        on_cpu = processes().device.type == "cpu"  # pyright: ignore[reportOptionalMemberAccess]
        AcceleratorState._reset_state()  # an earlier training's precision is not this one's
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=settings.precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # done here
        )
        set_seed(settings.seed)
        self.parameters = [p for p in task.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.parameters,
            settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )
        name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
        self.schedule = get_scheduler(
            name,
            optimizer,
            num_warmup_steps=settings.warmup,
            num_training_steps=settings.steps,
        )
        self.model, self.optimizer = self.accelerator.prepare(task, optimizer)
        self.ema = EMAModel(self.parameters, decay=settings.ema, use_ema_warmup=True, power=0.75)
        self.state = TrainingState(
            task, self.ema, self.optimizer, self.schedule, self.accelerator.scaler
        )
        self.log = TrainingLog(folder, self.accelerator, settings.log_every)

    @property
    def main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def learning_rate(self) -> float:
        return float(self.schedule.get_last_lr()[0])

    def step(self, step: int) -> list[Tensor]:
        """One optimiser step; the loss of each of its forward passes."""
        settings, passes = self.settings, self.settings.accumulation
        losses: list[Tensor] = []
        for turn in range(passes):
            alone = turn + 1 < passes
            with self.accelerator.no_sync(self.model) if alone else nullcontext():
                loss = self.model(**self._batch(step, turn))
                self.accelerator.backward(loss / passes)
            losses.append(loss.detach())
        self.accelerator.clip_grad_norm_(self.parameters, settings.max_grad_norm)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 feels for its scale
            self.schedule.step()
            self.ema.step(self.parameters)
        self.optimizer.zero_grad()
        return losses

    def _batch(self, step: int, turn: int) -> dict[str, Any]:
        settings, rank = self.settings, self.accelerator.process_index
        number = (settings.seed * 1_000_003 + step) * 64 + rank % 64
        number += turn * 2**40 + rank // 64 * 2**50
        batch = self.task.batch(settings.batch_size, torch.Generator().manual_seed(number))
        torch.manual_seed(settings.seed * 7_919 + step + turn * 2**40)
        device = self.accelerator.device
        return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}

    def show(self, validate: Validate, done: int) -> None:
        """Call ``validate`` with the averaged weights in place."""
        self.accelerator.wait_for_everyone()
        if self.main:
            self.task.eval()
            with _averaged(self.ema, self.parameters):
                figures = validate(done)
            self.task.train()
            self.log.write(done, figures)
            draw_curves(self.folder)
        self.accelerator.wait_for_everyone()

    def remember(self, identity: Mapping[str, Any]) -> None:
        """Keep what the training was started with; going on with something else is refused."""
        facts = {
            **self.settings.facts(),
            "processes": self.accelerator.num_processes,
            **identity,
        }
        now = json.loads(json.dumps(facts))
        before = _remembered(self.folder) or now
        free = _MAY_CHANGE | ({"steps"} if self.settings.schedule == "constant" else set())
        changed = [k for k in now if k not in free and k in before and now[k] != before[k]]
        if changed:
            told = ", ".join(f"{k} {before[k]} -> {now[k]}" for k in changed)
            raise OptionError(
                f"{self.folder} holds a training with other settings ({told:.300}); go on with "
                "the same ones, or train in another folder"
            )
        self.accelerator.wait_for_everyone()
        if self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(now, indent=1) + "\n"
            write_atomically(self.folder / SETTINGS, text.encode())

    def resume(self) -> int:
        """Load the newest checkpoint, if there is one; the number of steps it has done."""
        newest = newest_checkpoint(self.folder)
        start = 0 if newest is None else steps_of(newest)
        if start > self.settings.steps:
            raise OptionError(
                f"{self.folder} holds a training of {start} steps already; steps is "
                f"{self.settings.steps}: set it to more, or train in another folder"
            )
        self.ema.to(self.accelerator.device)
        if newest is not None:
            self.state.load(newest)
        self.log.start(start)
        return start

    def save(self, step: int) -> None:
        """Keep a checkpoint, in place of the one before; no process goes on before it is there."""
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            raise RenderError(
                f"a weight is not finite at step {step}; lower the learning rate. The newest "
                "checkpoint is from before"
            )
        self.accelerator.wait_for_everyone()
        if self.main:
            self.state.save(self.folder, step)
        self.accelerator.wait_for_everyone()


def _remembered(folder: Path) -> dict[str, Any] | None:
    """What the training in ``folder`` was started with; None: there is none."""
    path = folder / SETTINGS
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path} is damaged, {error!s:.100}; {_REMEDY}") from None
    if not isinstance(found, dict):
        raise OptionError(f"{path} is damaged, it holds no JSON object; {_REMEDY}")
    return found


@contextmanager
def _averaged(ema: EMAModel, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)
