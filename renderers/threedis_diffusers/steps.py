"""Follow a stock pipeline's steps: switch what belongs to a step, and tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from threedis_diffusers.batch import OnStep


def step_callback(
    pipeline: Any, switch: Callable[[int], None], on_step: OnStep
) -> Callable[..., dict[str, Any]]:
    """Call ``switch`` with the first step, and return what the pipeline calls after each one.

    That calls ``switch`` before each further step. A scheduler of order 2 calls the model twice a
    step: a control belongs to the step.

    Args:
        pipeline: A diffusers pipeline with its scheduler in place.
        switch: Called with a step's index, 0 first, before the model is.
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
        return {}

    switch(0)
    return step_end
