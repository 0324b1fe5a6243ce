"""The base of every Stable Diffusion renderer: a stock pipeline plus the region hook.

A family says which classes and hub ids it means and how it embeds texts; see ``sd15.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from threedis_core.interfaces import Capabilities, RenderRequest
from threedis_core.schedule import ControlSchedule, StepRange
from threedis_diffusers.backend import DiffusersRenderer, Loaded
from threedis_diffusers.batch import Batch, Drawn, OnStep
from threedis_diffusers.checks import check_model
from threedis_diffusers.devices import compile_blocks, place, resolve_device, resolve_dtype
from threedis_diffusers.loading import load_pipeline
from threedis_diffusers.loras import find_loras, load_loras
from threedis_diffusers.quiet import quiet
from threedis_diffusers.sources import Source
from threedis_sd.batch import CONTROL, fusion_plan, lost_warnings, run_batch, text_warnings
from threedis_sd.checks import NEEDED, check_controlnet
from threedis_sd.loading import load_controlnet, native_size, options_source
from threedis_sd.options import UNetOptions
from threedis_sd.prompts import Text
from threedis_sd.schedulers import make_scheduler


class UNetRenderer(DiffusersRenderer):
    """Render depth maps with a U-Net, its depth ControlNet and regional cross-attention."""

    Options: ClassVar[type[UNetOptions]]
    options: UNetOptions
    model_classes: ClassVar[tuple[str, ...]]
    pipeline_class: ClassVar[str]
    default_controlnet: ClassVar[str]
    default_side: ClassVar[int]

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

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """The region hook is on for the first ``control_steps`` steps."""
        return ControlSchedule({CONTROL: StepRange.first(self.options.control_steps)})

    def draw(self, loaded: Loaded, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch with the region hook in the U-Net."""
        pipeline = loaded.pipeline
        plan = fusion_plan(pipeline, batch, self.options)

        def encode(texts: list[str]) -> Text:
            with quiet():  # the pipeline's own warning of long prompts; ours are text_warnings
                return self.encode(pipeline, texts, loaded.device)

        images = run_batch(pipeline, encode, batch, plan, self.options, on_step)
        return [
            Drawn(
                image,
                tuple(text_warnings(pipeline, batch, request, self.options))
                + tuple(lost_warnings(request, plan.lost(picture))),
                {"controlnet": self._controlnet_name()},
            )
            for picture, (request, image) in enumerate(zip(batch.requests, images, strict=True))
        ]

    def load_checked(self) -> Loaded:
        """Check the options and every file, then load the model and its ControlNet."""
        import diffusers

        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device)
        model, controlnet = options_source(options, self.default_controlnet)
        endings = check_model(model, self.model_classes, NEEDED)
        controlnet_ending = check_controlnet(controlnet, model.read("unet/config.json"))
        lora_files = find_loras(options.loras)
        scheduler = make_scheduler(options.scheduler, model.read("scheduler/scheduler_config.json"))
        pipeline = load_pipeline(
            getattr(diffusers, self.pipeline_class),
            model,
            endings,
            dtype,
            controlnet=load_controlnet(controlnet, controlnet_ending, dtype),
        )
        pipeline.scheduler = scheduler
        load_loras(pipeline, options.loras, lora_files)
        place(pipeline, options, device)
        if options.compile:
            compile_blocks(pipeline.unet)
            compile_blocks(pipeline.controlnet)
        return Loaded(pipeline, device, dtype)

    def _controlnet_name(self) -> str:
        source = options_source(self.options, self.default_controlnet)[1]
        return "/".join(filter(None, (source.name, source.subfolder)))
