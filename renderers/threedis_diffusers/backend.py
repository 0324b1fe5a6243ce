"""The base of every renderer that drives a diffusers pipeline.

A family says how its pipeline is found and loaded (``find``), which controls are on at which step
(``default_schedule``), and how one batch is drawn (``draw``); see ``threedis_sd/backend.py`` and
``joint/renderer.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from threedis_core.errors import RenderError, ThreeDISError
from threedis_core.plugin.inspection import Inspection, MemoryNeed
from threedis_core.plugin.interfaces import (
    Progress,
    RenderBackend,
    RenderRequest,
    RenderResult,
    silent,
)
from threedis_core.plugin.progress import PreviewingProgress
from threedis_core.plugin.request_checks import check_request
from threedis_core.values.layout import Layout
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.decoding import frugal_decoding
from threedis_diffusers.devices import prefers_half, resolve_device, resolve_dtype
from threedis_diffusers.finite import finite_stages
from threedis_diffusers.instance_loras.layers import Adapters
from threedis_diffusers.lazy_model import LazyModel, let_go
from threedis_diffusers.loras import require_peft
from threedis_diffusers.machine_failures import DEVICE_MEMORY, MAIN_MEMORY, failed, machine_failure
from threedis_diffusers.memory.fitting import that_fit
from threedis_diffusers.memory.spreading import without_memory
from threedis_diffusers.model_files.requirements import NeededModel, inspect_model, needed_lora
from threedis_diffusers.options import DiffusersOptions, RegionalOptions
from threedis_diffusers.parts.options import PartOptions
from threedis_diffusers.previews import Previewer
from threedis_diffusers.quantized.configs import require_package
from threedis_diffusers.quantized.told import stored_as
from threedis_diffusers.quantized.wanted import weight_bits
from threedis_diffusers.quiet import quiet
from threedis_diffusers.steps import OnStep, StepCounter


@dataclass(frozen=True, eq=False)
class LoadedPipeline:
    """A loaded pipeline, where it runs, and how it was placed there.

    Args:
        pipeline: A diffusers pipeline with its weights.
        device: Where it computes; where its denoiser does, if it is spread over several.
        dtype: The number format it computes in.
        offload: How it was placed, as the option ``offload`` names it.
        instance_loras: The LoRAs in it that wait for an instance; None: there are none.
    """

    pipeline: Any
    device: torch.device
    dtype: torch.dtype
    offload: str = "none"
    instance_loras: Adapters | None = None


class DiffusersRenderer(LazyModel[LoadedPipeline], RenderBackend):
    """Render depth maps with a stock diffusers pipeline and a hook in it.

    A family sets ``name`` and ``Options``, and writes ``capabilities``, ``find``,
    ``default_schedule`` and ``draw``.

    Attributes:
        name: What messages call the renderer: the name it is registered by.
        Options: The class of its options.
        options: Those it was made with.
        accelerated: The number format that dtype=auto means on an accelerator.
        upcasts_vae: True if the pipeline decodes in float32 when it computes in float16.
    """

    Options: ClassVar[type[DiffusersOptions]]
    options: DiffusersOptions
    accelerated: ClassVar[torch.dtype] = torch.float16
    upcasts_vae: ClassVar[bool] = False

    @property
    def one_by_one(self) -> bool:
        """True if requests cannot go through the model together, even those that share all."""
        return False

    @abstractmethod
    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """When each control is on, in ``steps`` steps, for a request that does not say so."""

    @abstractmethod
    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch; what ``on_step`` raises ends the run."""

    def check_texts(self, layout: Layout) -> None:
        """See that the model can be given the layout's texts; nothing is loaded yet.

        Raises:
            LayoutError: It cannot.
        """

    def as_read(self, layout: Layout) -> Layout:
        """The layout as the model is to read it, with what the options add to its texts."""
        if not isinstance(self.options, RegionalOptions) or not self.options.nouns_in_prompt:
            return layout
        nouns = [instance.noun for instance in layout.instances]
        return layout.model_copy(update={"prompt": ", ".join([layout.prompt, *nouns])})

    def needed_models(self) -> Sequence[NeededModel]:
        """What this backend loads, LoRAs among the common options aside; for ``inspect``."""
        return ()

    check = LazyModel.check_model  # pyright: ignore[reportAssignmentType]
    """See that device, packages and every file are there; a render does not look again."""

    def inspect(self) -> Inspection:
        """The model's files and memory, without loading it and without a network.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: A configuration file of the model is damaged.
        """
        found = self._inspect_on(resolve_device(self.options))
        return found if self.options.device_map is None else without_memory(found)

    def needs_on_a_card(self) -> Sequence[MemoryNeed]:
        """What each way to place the model needs on an accelerator with memory of its own."""
        return self._inspect_on(torch.device("cuda")).memory

    def _inspect_on(self, device: torch.device) -> Inspection:
        options = self.options
        dtype = resolve_dtype(options, device, self.accelerated)
        named = {f"lora {n}": lora for n, lora in enumerate(options.loras, 1)}
        if isinstance(options, RegionalOptions):
            named |= {f"lora '{name}'": lora for name, lora in options.instance_loras.items()}
        require_peft(tuple(named.values()))
        loras = [needed_lora(lora, name) for name, lora in named.items()]
        models, size = [*self.needed_models(), *loras], self.capabilities.default_size
        half, bits = prefers_half(options, dtype), self._quantized_bits()
        with quiet():  # importing a pipeline logs what it would like to have installed
            return inspect_model(models, device, dtype, size, self.upcasts_vae, half, bits)

    def _quantized_bits(self) -> Mapping[str, float]:
        """Bits of a weight of each part that is quantised while it is loaded."""
        options = self.options
        wanted = options.wanted if isinstance(options, PartOptions) else {}
        for one in wanted.values():
            if one is not None:
                require_package(one.backend)
        return weight_bits(wanted)

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Render a batch; requests of one size, step count, guidance and schedule run together.

        Raises:
            InputError: A request or an option that cannot be served, before any weight is loaded.
            WeightsError: The model is missing, unreadable or of another kind.
            RenderError: This backend is at work already.
        """
        batches = self._batches(requests)
        done = 0
        results: dict[int, RenderResult] = {}
        with self.in_use(progress) as loaded:
            batches = [part for one in batches for part in _that_fit(loaded, *one)]
            total = sum(batch.steps for batch, _ in batches)
            for batch, members in batches:
                on_step = StepCounter(progress, done, batch.steps, total)
                if loaded.offload == "none" and isinstance(progress, PreviewingProgress):
                    # An offloaded model would be moved away and back for each preview.
                    previewer = Previewer(loaded.pipeline, progress, members, batch.size)
                    on_step.look = previewer.look
                made = self._render_batch(loaded, batch, on_step)
                results.update(zip(members, made, strict=True))
                done += batch.steps
        return [results[index] for index in range(len(requests))]

    def _batches(self, requests: Sequence[RenderRequest]) -> list[tuple[Batch, list[int]]]:
        """The batches of requests that can be served, each with their places among all."""
        for request in requests:
            check_request(request, self.capabilities, self.name)
            self.check_texts(request.layout)
        apart, alone, groups = self.one_by_one, list[Batch](), dict[Hashable, list[int]]()
        for index, request in enumerate(requests):
            steps = self.options.steps if request.steps is None else request.steps
            guidance = self.options.guidance if request.guidance is None else request.guidance
            schedule = request.control
            if schedule is None:
                schedule = self.default_schedule(request, steps)
            alone.append(Batch([request], steps, guidance, schedule))
            ranges = tuple(sorted(schedule.ranges.items()))
            alike = index if apart else _lora_places(request)
            key = (request.width, request.height, steps, guidance, ranges, alike)
            groups.setdefault(key, []).append(index)
        return [
            (replace(alone[members[0]], requests=[requests[i] for i in members]), members)
            for members in groups.values()
        ]

    def _render_batch(
        self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep
    ) -> list[RenderResult]:
        shared = self._provenance(loaded, batch)
        requests = [replace(one, layout=self.as_read(one.layout)) for one in batch.requests]
        batch = replace(batch, requests=requests)
        try:
            movable = loaded.offload == "none"
            frugal = frugal_decoding(loaded.pipeline, self.options.vae_tiling, movable)
            with frugal, finite_stages(loaded.pipeline):
                drawn = self.draw(loaded, batch, on_step)
        except BaseException as error:
            loaded.pipeline.maybe_free_model_hooks()
            told = None if isinstance(error, ThreeDISError) else machine_failure(error)
            if told == DEVICE_MEMORY:
                let_go(error)  # who catches it may try fewer pictures
                raise _out_of_memory(batch) from error
            if told is not None:
                code = "out-of-memory" if told == MAIN_MEMORY else ""
                raise failed(f"rendering with '{self.name}'", told, error, code) from error
            raise
        return [
            RenderResult(
                one.image.convert("RGB"),
                {**shared, **one.provenance},
                (*one.warnings, *batch.notes),
            )
            for one in drawn
        ]

    def _provenance(self, loaded: LoadedPipeline, batch: Batch) -> dict[str, Any]:
        """What a run does not know by itself: it keeps name, options, seed and size already."""
        stored = stored_as(loaded.pipeline.components)
        spread = loaded.pipeline.hf_device_map
        return {
            **({"quantized": stored} if stored else {}),
            **({"device_map": spread} if spread else {}),
            "scheduler": type(loaded.pipeline.scheduler).__name__,
            "steps": batch.steps,
            "guidance": batch.guidance,
            "device": str(loaded.device),
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "offload": loaded.offload,
            "phases": [
                {"start": phase.start, "stop": phase.stop, "controls": sorted(phase.controls)}
                for phase in batch.schedule.phases(batch.steps)
            ],
        }


def _that_fit(
    loaded: LoadedPipeline, batch: Batch, members: Sequence[int]
) -> Iterator[tuple[Batch, Sequence[int]]]:
    """A batch in pieces for which there is memory, each with its members."""
    most, start = that_fit(loaded.pipeline, loaded.device, loaded.offload, batch), 0
    for part in batch.cut(most):
        yield part, members[start : start + len(part.requests)]
        start += len(part.requests)


def _lora_places(request: RenderRequest) -> Hashable:
    """What requests have in common that the LoRAs of instances let go through together."""
    if not any(instance.loras for instance in request.layout.instances):
        return None
    return id(request.layout), id(request.regions)


def _out_of_memory(batch: Batch) -> RenderError:
    width, height = batch.size
    hint = "render fewer at once or smaller ones, or set offload=group"
    return RenderError(
        f"the device's memory is too small for {len(batch.requests)} pictures of "
        f"{width}x{height} at once; {hint}",
        code="out-of-memory",
        hint=hint,
    )
