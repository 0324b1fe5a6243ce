"""The ``flux`` renderer: FLUX.1 with the depth on its channels and the joint-attention hook."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from threedis_core.attention import ChosenLowering
from threedis_core.attention.joint import CONTROLS
from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn, OnStep
from threedis_diffusers.devices import place, resolve_device, resolve_dtype
from threedis_diffusers.loras import require_peft
from threedis_diffusers.model_files.requirements import NeededModel, needed_lora
from threedis_diffusers.model_files.sources import ModelSource, vae_factor
from threedis_flux.batch import PATCH, draw_pictures, is_controlled
from threedis_flux.loading import check_files, load_flux
from threedis_flux.options import FluxOptions
from threedis_flux.schedule import TEXTS, control_schedule
from threedis_flux.texts import text_warnings


class FluxRenderer(DiffusersRenderer):
    """Render depth maps with FLUX.1-Depth, or with FLUX.1 and its depth LoRA."""

    Options = FluxOptions
    options: FluxOptions
    name: ClassVar[str] = "flux"
    accelerated: ClassVar[torch.dtype] = torch.bfloat16

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do.

        Raises:
            OptionError: ``default_side`` is not a multiple of what the model needs.
        """
        side, multiple = (
            self.options.default_side,
            PATCH * vae_factor(ModelSource(self.options.model)),
        )
        if side % multiple:
            raise OptionError(
                f"default_side is {side}, but this model needs multiples of {multiple}; "
                f"use {max(multiple, round(side / multiple) * multiple)}"
            )
        return Capabilities(
            size_multiple=multiple,
            default_size=(side, side),
            default_steps=self.options.steps,
            default_guidance=self.options.guidance,
            negative_prompt=False,
            controls=frozenset({*CONTROLS, TEXTS}),
        )

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """The options' step counts, scaled to ``steps``."""
        return control_schedule(self.options, request.width, request.height, steps)

    def batch_key(self, request: RenderRequest) -> Hashable:
        """Alone with a cache: it looks at a whole batch to decide what to skip."""
        alone = None if self.options.cache is None else id(request)
        return super().batch_key(request), alone

    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch with the joint-attention hook in the transformer."""
        made = draw_pictures(loaded.pipeline, batch, self.options, loaded.device, on_step)
        drawn: list[Drawn] = []
        for request, text, image in zip(batch.requests, made.texts, made.images, strict=True):
            heard = is_controlled(batch, request)
            warnings = text_warnings(loaded.pipeline, request.layout, heard, text.tokens)
            drawn.append(Drawn(image, tuple(warnings), self._facts(text.tokens, made.lowering)))
        return drawn

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline and its depth LoRA."""
        model = ModelSource(self.options.model)
        wanted = [
            NeededModel(model, partial(check_files, self.options), pipeline="FluxControlPipeline")
        ]
        if (lora := self.options.depth_lora) is not None:
            require_peft((lora,))
            wanted.append(needed_lora(lora, "depth lora"))
        return wanted

    def load_checked(self) -> LoadedPipeline:
        """Check the options and every file, then load the model."""
        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device, self.accelerated)
        pipeline = load_flux(options, dtype)
        place(pipeline, options, device)
        if options.compile:
            pipeline.transformer.compile_repeated_blocks()
        return LoadedPipeline(pipeline, device, dtype)

    def _facts(self, tokens: int, lowering: ChosenLowering) -> dict[str, Any]:
        lora = self.options.depth_lora
        return {
            "depth_lora": None if lora is None else lora.path,
            "tokens_per_prompt": tokens,
            "attention": {"lowering": lowering.name, "reason": lowering.reason},
        }
