"""Checkpoints of a training: what it needs to go on, as numbers and texts, never as code.

A checkpoint is a folder ``step-N`` of safetensors and JSON. Its file ``complete`` is written last
and lists the others with their SHA-256, as ``sha256sum -c`` reads them. Only those are opened, and
only if they are what was written; whatever else lies in the folder is ignored.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from threedis_core.errors import RenderError, ThreeDISError, WeightsError
from threedis_core.files.atomic import write_atomically
from threedis_diffusers.weight_files import read_weights

COMPLETE = "complete"
MODEL, AVERAGE, OPTIMIZER, STATE = (
    "model.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
    "state.json",
)
FILES = (MODEL, AVERAGE, OPTIMIZER, STATE)
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW gathers of each parameter."""
_NAME = re.compile(r"step-([0-9]{1,12})")


class _Numbers(BaseModel):
    """What a checkpoint holds beside tensors.

    Args:
        updates: Steps that changed the weights; fp16 skips some while it looks for its scale.
        scaler: The state of fp16's gradient scaler; None: there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    updates: int = Field(ge=0)
    scaler: dict[str, int | float] | None


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that changes while a training runs; batches and noise need no state of theirs.

    Args:
        module: What is trained, not wrapped for several processes.
        average: The averaged weights of its parameters that require a gradient, in their order.
        optimizer: AdamW on the same parameters.
        schedule: Its learning rate.
        scaler: fp16's gradient scaler; None: there is none.
    """

    module: nn.Module
    average: EMAModel
    optimizer: Any
    schedule: LambdaLR
    scaler: torch.amp.GradScaler | None

    def save(self, folder: Path, step: int) -> Path:
        """Write the checkpoint ``step-N`` into ``folder``; then older ones go.

        Raises:
            RenderError: It cannot be written; what was there is still there.
        """
        target = folder / f"step-{step}"
        try:
            if target.exists():
                shutil.rmtree(target)  # what a kill has left of it
            target.mkdir(parents=True)
            save_file(_distinct(self.module), target / MODEL)
            save_file(self._averages(), target / AVERAGE)
            save_file(self._moments(), target / OPTIMIZER)
            write_atomically(target / STATE, self._numbers().model_dump_json().encode())
            listing = "".join(f"{_settled(target / name)}  {name}\n" for name in FILES)
            write_atomically(target / COMPLETE, listing.encode())
        except (OSError, SafetensorError) as error:
            raise RenderError(
                f"{target}: the checkpoint cannot be written ({error}); make room, and start the "
                "same training again"
            ) from error
        _remove_others(folder, target)
        return target

    def load(self, checkpoint: Path) -> None:
        """Take over what ``checkpoint`` holds.

        Raises:
            WeightsError: It is damaged, incomplete, or of another model.
        """
        try:
            _check_listed(checkpoint)
            numbers = _Numbers.model_validate_json((checkpoint / STATE).read_bytes())
            self._take_model(read_weights(checkpoint / MODEL))
            self._take_averages(read_weights(checkpoint / AVERAGE))
            self._take_moments(read_weights(checkpoint / OPTIMIZER))
            self._take_numbers(numbers)
        except (ThreeDISError, OSError, ValidationError) as error:
            reason = f"{STATE} is damaged" if isinstance(error, ValidationError) else str(error)
            raise WeightsError(
                f"the checkpoint {checkpoint} cannot be used: {reason}. Delete this folder, and "
                "the training goes on from an earlier checkpoint or begins again"
            ) from error

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def _averages(self) -> dict[str, Tensor]:
        """The averaged weights by the parameters' names."""
        return {
            name: value.detach().contiguous()
            for name, value in zip(self._trained(), self.average.shadow_params, strict=True)
        }

    def _moments(self) -> dict[str, Tensor]:
        """What the optimiser has gathered, as ``exp_avg/NAME``; nothing of unused parameters."""
        names, state = list(self._trained()), self.optimizer.state_dict()["state"]
        return {
            f"{kind}/{names[place]}": value.detach().contiguous()
            for place, kinds in state.items()
            for kind, value in kinds.items()
        }

    def _numbers(self) -> _Numbers:
        scaler = None if self.scaler is None else self.scaler.state_dict()
        return _Numbers(updates=self.average.optimization_step, scaler=scaler)

    def _take_model(self, found: Mapping[str, Tensor]) -> None:
        _check_shapes(MODEL, found, _distinct(self.module))
        self.module.load_state_dict(found, strict=False)  # a tied weight has only one of its names

    def _take_averages(self, found: Mapping[str, Tensor]) -> None:
        own = self._averages()
        _check_shapes(AVERAGE, found, own)
        for name, value in own.items():
            value.copy_(found[name])

    def _take_moments(self, found: Mapping[str, Tensor]) -> None:
        trained, scalar = self._trained(), torch.tensor(0.0)
        used = [name for name in trained if f"step/{name}" in found]
        wanted = {
            f"{kind}/{name}": scalar if kind == "step" else trained[name]
            for name in used
            for kind in MOMENTS
        }
        _check_shapes(OPTIMIZER, found, wanted)
        state = {
            place: {kind: found[f"{kind}/{name}"] for kind in MOMENTS}
            for place, name in enumerate(trained)
            if name in used
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _take_numbers(self, numbers: _Numbers) -> None:
        self.average.optimization_step = updates = numbers.updates
        rates = [
            base * factor(updates)
            for base, factor in zip(self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        now = {"last_epoch": updates, "_step_count": updates + 1, "_last_lr": rates}
        self.schedule.load_state_dict({**self.schedule.state_dict(), **now})
        if self.scaler is None:
            return
        own = self.scaler.state_dict()
        if numbers.scaler is None or numbers.scaler.keys() != own.keys():
            raise WeightsError(f"{STATE} is of a training in another precision")
        if own:  # that of a scaler that is switched off is empty
            self.scaler.load_state_dict(numbers.scaler)


def newest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint in ``folder`` with the most steps; None: there is none."""
    complete = [path for path in _checkpoints(folder) if (path / COMPLETE).is_file()]
    return max(complete, key=steps_of, default=None)


def steps_of(checkpoint: Path) -> int:
    """The steps that a checkpoint is after."""
    return int(checkpoint.name.removeprefix("step-"))


def _checkpoints(folder: Path) -> list[Path]:
    """Folders that are named like checkpoints, complete or not."""
    return [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]


def _remove_others(folder: Path, kept: Path) -> None:
    for old in _checkpoints(folder):
        if old != kept and not old.is_symlink():
            (old / COMPLETE).unlink(missing_ok=True)  # so that a half of it never counts
            shutil.rmtree(old)


def _distinct(module: nn.Module) -> dict[str, Tensor]:
    """The state of ``module``; a tensor that several names share has the first of them."""
    first: dict[int, str] = {}
    state = module.state_dict(keep_vars=True)
    for name, value in state.items():
        first.setdefault(id(value), name)
    return {name: state[name].detach().contiguous() for name in first.values()}


def _check_shapes(file: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse the tensors of another model."""
    if odd := sorted(found.keys() ^ wanted.keys()):
        raise WeightsError(f"{file} is of another model: only one of the two has {odd[0]}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise WeightsError(
                f"{file} is of another model: {name} has shape {tuple(found[name].shape)}, "
                f"expected {tuple(value.shape)}"
            )


def _check_listed(checkpoint: Path) -> None:
    """See that the files of ``checkpoint`` are those that were written.

    Raises:
        WeightsError: The list is none of ours, or a file is missing or another one.
    """
    lines = (checkpoint / COMPLETE).read_bytes().splitlines()
    listed = {name: digest for digest, _, name in (line.partition(b"  ") for line in lines)}
    if listed.keys() != {name.encode() for name in FILES}:
        raise WeightsError(f"its file '{COMPLETE}' is damaged or from another version of ThreeDIS")
    for name in FILES:
        file = checkpoint / name
        if not file.is_file():
            raise WeightsError(f"{name} is missing")
        if _checksum(file).encode() != listed[name.encode()]:
            raise WeightsError(f"{name} is damaged, its SHA-256 is not the one in '{COMPLETE}'")


def _settled(file: Path) -> str:
    """SHA-256 of a file, which is on the disk before a list says that it is there."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
    return _checksum(file)


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
