"""What a training says while it runs: ``log.jsonl``, TensorBoard and a picture of the loss."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from threedis_core.errors import RenderError
from threedis_core.files.atomic import write_atomically

LOG = "log.jsonl"
CURVE = "loss.png"


class TrainingLog:
    """Mean loss of every few steps: one JSON line, one TensorBoard point; only of the main process.

    Args:
        folder: Where ``log.jsonl`` goes, and TensorBoard's files under ``tensorboard``.
        accelerator: The training's.
        every: Steps that a line is the mean of.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, every: int) -> None:
        self._folder, self._accelerator, self._every = folder, accelerator, every
        self._losses: list[Tensor] = []
        self._board: Any = None

    def start(self, step: int) -> None:
        """Begin after ``step`` steps; what an earlier run wrote of later ones is dropped."""
        if not self._accelerator.is_main_process:
            return
        path = self._folder / LOG
        rows = [row for row in read_log(self._folder) if row["step"] <= step]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self._board = _board(self._folder / "tensorboard", step)

    def add(self, step: int, losses: Sequence[Tensor], learning_rate: float, flush: bool) -> None:
        """Take the losses of one step.

        Raises:
            RenderError: The mean loss is not finite.
        """
        self._losses += losses
        if step % self._every and not flush:
            return
        mean = torch.stack(self._losses).float().mean()
        self._losses.clear()
        reduced: Any = self._accelerator.reduce(mean, "mean")
        loss = float(reduced)
        self.write(step, {"loss": loss, "learning_rate": learning_rate})
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise RenderError(
                f"the loss is {loss} at step {step}; lower the learning rate, or use precision "
                "bf16 or no. The newest checkpoint is from before"
            )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures of ``step``; processes beside the main one write nothing."""
        if not self._accelerator.is_main_process:
            return
        with (self._folder / LOG).open("a") as file:
            file.write(json.dumps({"step": step, **figures, "time": time.time()}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def read_log(folder: Path) -> list[dict[str, float]]:
    """The rows of a training's log; lines that are none, such as one cut off, are left out."""
    path = folder / LOG
    if not path.exists():
        return []
    rows = (_row(line) for line in path.read_bytes().splitlines())
    return [row for row in rows if row is not None]


def _row(line: bytes) -> dict[str, float] | None:
    """Figures by name, a whole step among them; None: the line is something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    if not all(type(value) is float or _is_small(value) for value in row.values()):
        return None
    return row


def _is_small(value: Any) -> bool:
    """True for a whole number that a curve can show."""
    return type(value) is int and abs(value) < 2**53


def draw_curves(folder: Path) -> Path | None:
    """Draw every figure of the log over the steps into ``loss.png``; None without matplotlib."""
    rows = read_log(folder)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    names = [name for name in ("loss", "validation_loss") if any(name in row for row in rows)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1.5)
    axes.set(xlabel="step", ylabel="mean squared error", yscale="log")
    axes.grid(alpha=0.3, which="both")
    if names:
        axes.legend(frameon=False)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    path = folder / CURVE
    write_atomically(path, drawn.getvalue())
    return path


def _board(folder: Path, step: int) -> Any:
    """A TensorBoard writer that forgets what came after ``step``; None where it is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
