"""A batch: requests that go through a model together, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.plugin.progress import Progress
from threedis_core.values.schedule import ControlSchedule

OnStep = Callable[[int, int], None]
"""Called with the number of time steps done and their total."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Requests that go through the model together, and what they share.

    Args:
        requests: The requests; their own steps, guidance and control are not read.
        steps: Denoising steps.
        guidance: Guidance scale.
        schedule: When each control is on.
    """

    requests: Sequence[RenderRequest]
    steps: int
    guidance: float
    schedule: ControlSchedule

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.requests[0].width, self.requests[0].height


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a renderer made of one request.

    Args:
        image: The picture.
        warnings: One line each.
        provenance: JSON-ready, beside what every renderer tells; no paths of this machine.
    """

    image: Image.Image
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])


def step_counter(
    progress: Progress, before: int, steps: int, total: int, stage: str = "render"
) -> OnStep:
    """Count denoising steps: some schedulers take more time steps than that.

    Args:
        progress: Told after each step.
        before: Steps that earlier batches took.
        steps: Steps of this batch.
        total: Steps of all batches.
        stage: What the work is called.
    """
    last = before

    def on_step(done: int, of: int) -> None:
        nonlocal last
        now = before + done * steps // of
        if now > last:
            last = now
            progress(stage, now, total)

    return on_step
