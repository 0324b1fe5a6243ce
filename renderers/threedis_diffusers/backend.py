"""The base of every renderer that drives a diffusers pipeline.

A family says how its pipeline is loaded, which controls are on at which step, and how one batch is
drawn; see ``threedis_sd/backend.py`` and ``threedis_flux/backend.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from threedis_core.errors import RenderError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import (
    Progress,
    RenderBackend,
    RenderRequest,
    RenderResult,
    silent,
)
from threedis_core.plugin.request_checks import check_request
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.batch import Batch, Drawn, OnStep, step_counter
from threedis_diffusers.devices import resolve_device, resolve_dtype
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.loras import require_peft
from threedis_diffusers.model_files.requirements import NeededModel, inspect_model, needed_lora
from threedis_diffusers.options import DiffusersOptions
from threedis_diffusers.quiet import quiet


@dataclass(frozen=True, eq=False)
class LoadedPipeline:
    """A loaded pipeline and where it runs."""

    pipeline: Any
    device: torch.device
    dtype: torch.dtype


class DiffusersRenderer(LazyModel[LoadedPipeline], RenderBackend):
    """Render depth maps with a stock diffusers pipeline and a hook in it."""

    Options: ClassVar[type[DiffusersOptions]]
    options: DiffusersOptions
    accelerated: ClassVar[torch.dtype] = torch.float16
    """The number format that dtype=auto means on an accelerator."""
    upcasts_vae: ClassVar[bool] = False
    """True if the pipeline decodes in float32 when it computes in float16."""

    @abstractmethod
    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """When each control is on, in ``steps`` steps, for a request that does not say so."""

    @abstractmethod
    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch; what ``on_step`` raises ends the run."""

    def needed_models(self) -> Sequence[NeededModel]:
        """What this backend loads, LoRAs among the common options aside; for ``inspect``."""
        return ()

    def inspect(self) -> Inspection:
        """The model's files and memory, without loading it and without a network.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: A configuration file of the model is damaged.
        """
        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device, self.accelerated)
        require_peft(options.loras)
        loras = [needed_lora(lora, f"lora {n}") for n, lora in enumerate(options.loras, 1)]
        wanted, size = [*self.needed_models(), *loras], self.capabilities.default_size
        with quiet():  # importing a pipeline logs what it would like to have installed
            return inspect_model(wanted, device, dtype, size, self.upcasts_vae)

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Render a batch; requests of one size, step count, guidance and schedule run together.

        Raises:
            InputError: A request or an option that cannot be served, before any weight is loaded.
            WeightsError: The model is missing, unreadable or of another kind.
            RenderError: This backend is at work already.
        """
        capabilities = self.capabilities
        for request in requests:
            check_request(request, capabilities, self.name)
        with self.in_use() as loaded:
            return self._render_all(loaded, requests, progress)

    def batch_key(self, request: RenderRequest) -> Hashable:
        """What requests must have in common to go through the model together."""
        batch = self._batch([request])
        return batch.size, batch.steps, batch.guidance, tuple(sorted(batch.schedule.ranges.items()))

    def _render_all(
        self, loaded: LoadedPipeline, requests: Sequence[RenderRequest], progress: Progress
    ) -> list[RenderResult]:
        groups: dict[Hashable, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(self.batch_key(request), []).append(index)
        batches = [
            (self._batch([requests[i] for i in members]), members) for members in groups.values()
        ]
        total = sum(batch.steps for batch, _ in batches)
        done = 0
        results: dict[int, RenderResult] = {}
        for batch, members in batches:
            on_step = step_counter(progress, done, batch.steps, total)
            results.update(zip(members, self._render_batch(loaded, batch, on_step), strict=True))
            done += batch.steps
        return [results[index] for index in range(len(requests))]

    def _render_batch(
        self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep
    ) -> list[RenderResult]:
        try:
            drawn = self.draw(loaded, batch, on_step)
        except torch.OutOfMemoryError as error:
            loaded.pipeline.maybe_free_model_hooks()
            raise RenderError(_out_of_memory(batch)) from error
        except BaseException:
            loaded.pipeline.maybe_free_model_hooks()
            raise
        return [
            RenderResult(
                one.image.convert("RGB"),
                {**self._provenance(loaded, batch, request), **one.facts},
                one.warnings,
            )
            for request, one in zip(batch.requests, drawn, strict=True)
        ]

    def _batch(self, requests: Sequence[RenderRequest]) -> Batch:
        first, options = requests[0], self.options
        steps = options.steps if first.steps is None else first.steps
        guidance = options.guidance if first.guidance is None else first.guidance
        schedule = first.control
        if schedule is None:
            schedule = self.default_schedule(first, steps)
        return Batch(requests, steps, guidance, schedule)

    def _provenance(
        self, loaded: LoadedPipeline, batch: Batch, request: RenderRequest
    ) -> dict[str, Any]:
        return {
            "renderer": self.name,
            "model": self.options.model,
            "scheduler": type(loaded.pipeline.scheduler).__name__,
            "seed": request.seed,
            "steps": batch.steps,
            "guidance": batch.guidance,
            "device": str(loaded.device),
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "phases": [
                {"start": phase.start, "stop": phase.stop, "controls": sorted(phase.controls)}
                for phase in batch.schedule.phases(batch.steps)
            ],
            "options": self.options.model_dump(mode="json"),
        }


def _out_of_memory(batch: Batch) -> str:
    width, height = batch.size
    return (
        f"the device's memory is too small for {len(batch.requests)} pictures of "
        f"{width}x{height} at once; render fewer at once or smaller ones, or set offload=model"
    )
