"""Follow a stock pipeline's steps: switch what belongs to a step, and tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from threedis_core.plugin.progress import Progress


class OnStep(Protocol):
    """What a renderer's ``draw`` calls after each time step of its pipeline.

    ``step_callback`` makes of it what a pipeline calls. What it raises ends the run, and must not
    be caught.
    """

    def __call__(self, done: int, of: int, /) -> None:
        """Note that ``done`` time steps of ``of`` are done: 1 after the first, ``of`` at the end.

        A scheduler of order 2 takes two time steps for one step that was asked for.
        """


def step_callback(
    pipeline: Any, switch: Callable[[int], None], on_step: OnStep
) -> Callable[..., dict[str, Any]]:
    """What the pipeline is to call after each step; the caller gets ready for the first one.

    It calls ``switch`` before each further step. A scheduler of order 2 calls the model twice a
    step: a control belongs to the step.

    Args:
        pipeline: A diffusers pipeline with its scheduler in place.
        switch: Called with a step's index, from 1 on, before the model is.
        on_step: Called with the number of time steps done and their total.
    Returns:
        The pipeline's ``callback_on_step_end``.
    """
    order = pipeline.scheduler.order

    def step_end(
        pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        switch((index + 1) // order)
        on_step(index + 1, pipeline.num_timesteps)
        if isinstance(on_step, StepCounter) and on_step.look is not None:
            on_step.look(index, tensors["latents"], on_step.just_done)
        return {}

    return step_end


@dataclass
class StepCounter:
    """Counts denoising steps, as an ``OnStep``: some schedulers take more time steps than that.

    Args:
        progress: Told after each step.
        before: Steps that earlier batches took.
        steps: Steps of this batch.
        total: Steps of all batches.
        stage: What the work is called.
        look: Shown the latents after each time step: its index, the latents, and how many steps of
            the batch are done with it, 0 if none is. None: nobody looks.
    """

    progress: Progress
    before: int
    steps: int
    total: int
    stage: str = "render"
    look: Callable[[int, Any, int], None] | None = None
    just_done: int = field(default=0, init=False)
    _told: int = field(default=0, init=False)

    def __call__(self, done: int, of: int) -> None:
        """Note that ``done`` of ``of`` time steps are done."""
        now = done * self.steps // of
        self.just_done = now if now > self._told else 0
        if self.just_done:
            self._told = now
            self.progress(self.stage, self.before + now, self.total)
