"""A tiny real task: a line through points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from threedis_train.engine import Task
from threedis_train.settings import TrainingSettings

torch.set_num_threads(1)


class LineTask(Task):
    """Fit a line, through two layers that share their weights; some weights are never used."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Linear(width, width)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Linear(width, 1).requires_grad_(False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def batch(self, size: int, rng: torch.Generator) -> Mapping[str, Any]:
        points = torch.randn(size, self.first.in_features, generator=rng)
        return {"points": points, "targets": points.sum(1, keepdim=True)}

    def forward(self, points: Tensor, targets: Tensor) -> Tensor:
        self.seen += len(points)
        noisy = points + 0.1 * torch.randn_like(points)
        return (self.frozen(self.tied(self.first(noisy).tanh())) - targets).square().mean()


@pytest.fixture
def make_task() -> Callable[..., LineTask]:
    return LineTask


@pytest.fixture
def settings() -> TrainingSettings:
    """Six steps, a checkpoint after every second one."""
    return TrainingSettings(
        steps=6, batch_size=4, learning_rate=0.01, warmup=3, checkpoint_every=2, log_every=1
    )
