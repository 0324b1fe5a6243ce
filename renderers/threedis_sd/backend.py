"""The base of every Stable Diffusion renderer: a stock pipeline plus the region hook.

A family says which classes and hub ids it means and how it embeds texts; see ``sd15.py``.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from threedis_core.errors import RenderError
from threedis_core.interfaces import (
    Capabilities,
    Progress,
    RenderBackend,
    RenderRequest,
    RenderResult,
    silent,
)
from threedis_core.requests import check_request
from threedis_core.schedule import ControlSchedule, StepRange
from threedis_sd.batch import (
    CONTROL,
    Batch,
    OnStep,
    fusion_plan,
    lost_warnings,
    run_batch,
    text_warnings,
)
from threedis_sd.checks import check_controlnet, check_model
from threedis_sd.devices import compile_blocks, place, resolve_device, resolve_dtype
from threedis_sd.loading import load_pipeline, native_size, options_source
from threedis_sd.loras import find_loras, load_loras
from threedis_sd.options import UNetOptions
from threedis_sd.prompts import Text
from threedis_sd.quiet import quiet
from threedis_sd.schedulers import make_scheduler
from threedis_sd.sources import Source


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loaded pipeline and where it runs."""

    pipeline: Any
    device: torch.device
    dtype: torch.dtype


class UNetRenderer(RenderBackend):
    """Render depth maps with a U-Net, its depth ControlNet and regional cross-attention."""

    Options: ClassVar[type[UNetOptions]]
    options: UNetOptions
    name: ClassVar[str]
    model_classes: ClassVar[tuple[str, ...]]
    pipeline_class: ClassVar[str]
    default_controlnet: ClassVar[str]
    default_side: ClassVar[int]

    def __init__(self, options: UNetOptions) -> None:
        super().__init__(options)
        self._loaded: Loaded | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def encode(self, pipeline: Any, texts: list[str], device: torch.device) -> Text:
        """Embed texts as the family's stock pipeline does."""

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do; a local model's own size is its default size."""
        side, factor = native_size(Source(self.options.model), self.default_side)
        return Capabilities(
            size_multiple=factor,
            default_size=(side, side),
            default_steps=self.options.steps,
            default_guidance=self.options.guidance,
            controls=frozenset({CONTROL}),
        )

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Render a batch; requests of one size, step count, guidance and schedule run together.

        Raises:
            InputError: A request or an option that cannot be served, before any weight is loaded.
            WeightsError: The model is missing, unreadable or of another kind.
            RenderError: This backend is rendering already.
        """
        capabilities = self.capabilities
        for request in requests:
            check_request(request, capabilities, self.name)
        if not self._lock.acquire(blocking=False):
            raise RenderError(f"this '{self.name}' backend is rendering already; make another one")
        try:
            loaded = self.load()
            return self._render_all(loaded, requests, progress)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Free the model."""
        self._loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _render_all(
        self, loaded: Loaded, requests: Sequence[RenderRequest], progress: Progress
    ) -> list[RenderResult]:
        groups: dict[Any, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(self._group_key(request), []).append(index)
        batches = [
            (self._batch([requests[i] for i in members]), members) for members in groups.values()
        ]
        total = sum(batch.steps for batch, _ in batches)
        done = 0
        results: dict[int, RenderResult] = {}
        for batch, members in batches:
            made = self._render_batch(loaded, batch, _counter(progress, done, batch.steps, total))
            results.update(zip(members, made, strict=True))
            done += batch.steps
        return [results[index] for index in range(len(requests))]

    def _render_batch(self, loaded: Loaded, batch: Batch, on_step: OnStep) -> list[RenderResult]:
        pipeline = loaded.pipeline
        plan = fusion_plan(pipeline, batch, self.options)

        def encode(texts: list[str]) -> Text:
            with quiet():  # the pipeline's own warning of long prompts; ours are text_warnings
                return self.encode(pipeline, texts, loaded.device)

        try:
            images = run_batch(pipeline, encode, batch, plan, self.options, on_step)
        except torch.OutOfMemoryError as error:
            pipeline.maybe_free_model_hooks()
            raise RenderError(_out_of_memory(batch)) from error
        except BaseException:
            pipeline.maybe_free_model_hooks()
            raise
        return [
            RenderResult(
                image.convert("RGB"),
                self._provenance(loaded, batch, request),
                tuple(text_warnings(pipeline, batch, request, self.options))
                + tuple(lost_warnings(request, plan.lost(picture))),
            )
            for picture, (request, image) in enumerate(zip(batch.requests, images, strict=True))
        ]

    def _batch(self, requests: Sequence[RenderRequest]) -> Batch:
        first = requests[0]
        return Batch(requests, self._steps(first), self._guidance(first), self._schedule(first))

    def _group_key(self, request: RenderRequest) -> Any:
        schedule = tuple(sorted(self._schedule(request).ranges.items()))
        return (
            request.width,
            request.height,
            self._steps(request),
            self._guidance(request),
            schedule,
        )

    def _steps(self, request: RenderRequest) -> int:
        return self.options.steps if request.steps is None else request.steps

    def _guidance(self, request: RenderRequest) -> float:
        return self.options.guidance if request.guidance is None else request.guidance

    def _schedule(self, request: RenderRequest) -> ControlSchedule:
        if request.control is not None:
            return request.control
        return ControlSchedule({CONTROL: StepRange.first(self.options.control_steps)})

    def load(self) -> Loaded:
        """Load the model, once; ``render`` does so itself.

        Everything that can be wrong is checked before the weights are read.

        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """
        if self._loaded is None:
            with quiet():  # importing a pipeline logs what it would like to have installed
                self._loaded = self._load()
        return self._loaded

    def _load(self) -> Loaded:
        import diffusers

        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device)
        model, controlnet = options_source(options, self.default_controlnet)
        endings = check_model(model, self.model_classes)
        endings["controlnet"] = check_controlnet(controlnet, model.read("unet/config.json"))
        lora_files = find_loras(options.loras)
        scheduler = make_scheduler(options.scheduler, model.read("scheduler/scheduler_config.json"))
        pipeline_class = getattr(diffusers, self.pipeline_class)
        pipeline = load_pipeline(pipeline_class, model, controlnet, endings, dtype)
        pipeline.scheduler = scheduler
        load_loras(pipeline, options.loras, lora_files)
        place(pipeline, options, device)
        if options.compile:
            compile_blocks(pipeline.unet)
            compile_blocks(pipeline.controlnet)
        return Loaded(pipeline, device, dtype)

    def _provenance(self, loaded: Loaded, batch: Batch, request: RenderRequest) -> dict[str, Any]:
        model, controlnet = options_source(self.options, self.default_controlnet)
        return {
            "renderer": self.name,
            "model": model.name,
            "controlnet": "/".join(filter(None, (controlnet.name, controlnet.subfolder))),
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


def _counter(progress: Progress, before: int, steps: int, total: int) -> OnStep:
    """Count denoising steps: some schedulers take more time steps than that."""
    last = before

    def on_step(done: int, of: int) -> None:
        nonlocal last
        now = before + done * steps // of
        if now > last:
            last = now
            progress("render", now, total)

    return on_step


def _out_of_memory(batch: Batch) -> str:
    width, height = batch.size
    return (
        f"the device's memory is too small for {len(batch.requests)} pictures of "
        f"{width}x{height} at once; render fewer at once or smaller ones, or set offload=model"
    )
