"""The ``flux`` renderer: FLUX.1 with the depth on its channels and the joint-attention hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import torch

from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.devices import resolve_device, resolve_dtype
from threedis_diffusers.loras import require_peft
from threedis_diffusers.model_files.facts import model_facts
from threedis_diffusers.model_files.requirements import NeededModel, needed_lora
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import needed_parts
from threedis_diffusers.steps import OnStep
from threedis_flux.batch import PATCH, draw_pictures
from threedis_flux.checks import check_files, find_flux
from threedis_flux.options import FluxOptions
from threedis_flux.schedule import FLUX_CONTROLS, control_schedule

GGUF = "SporkySporkness/FLUX.1-Depth-dev-GGUF/flux1-depth-dev-fp16"
T5 = "city96/t5-v1_1-xxl-encoder-gguf/t5-v1_1-xxl-encoder"
"""How the names of the published files begin whose weights are packed as GGUF."""


class FluxRenderer(DiffusersRenderer):
    """Render depth maps with FLUX.1-Depth, or with FLUX.1 and its depth LoRA."""

    Options = FluxOptions
    options: FluxOptions
    name: ClassVar[str] = "flux"
    accelerated: ClassVar[torch.dtype] = torch.bfloat16
    for_cards: ClassVar[Mapping[str, Any]] = {"dtype": "bfloat16"}
    smaller: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"quantization": "fp8"},
        *(
            {"transformer": f"{GGUF}-{size}-GGUF.gguf", "text_encoder_2": f"{T5}-{of_text}.gguf"}
            for size, of_text in (("Q8_0", "Q8_0"), ("Q5_0", "Q5_K_M"), ("Q4_0", "Q5_K_M"))
        ),
    )

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this backend can do.

        Raises:
            OptionError: ``default_side`` is not a multiple of what the model needs.
        """
        side = self.options.default_side
        multiple = PATCH * model_facts(ModelSource(self.options.model)).vae_factor
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
            controls=FLUX_CONTROLS,
            instance_loras=frozenset(self.options.instance_loras),
        )

    @property
    def one_by_one(self) -> bool:
        """True with a cache: it looks at a whole batch to decide what to skip."""
        return self.options.cache is not None

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """The options' step counts, scaled to ``steps``."""
        return control_schedule(self.options, request.width, request.height, steps)

    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch with the joint-attention hook in the transformer."""
        made = draw_pictures(
            loaded.pipeline, batch, self.options, loaded.device, on_step, loaded.instance_loras
        )
        attention = [
            {"controls": sorted(controls), "lowering": chosen.name, "reason": chosen.reason}
            for controls, chosen in made.lowerings.items()
        ]
        return [
            Drawn(
                image,
                (*text.warnings, *made.warnings),
                {"tokens_per_prompt": text.tokens, "attention": attention},
            )
            for text, image in zip(made.texts, made.images, strict=True)
        ]

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline and its depth LoRA."""
        model = ModelSource(self.options.model)
        needed = [
            NeededModel(model, partial(check_files, self.options), pipeline="FluxControlPipeline"),
            *needed_parts(self.options),
        ]
        if (lora := self.options.depth_lora) is not None:
            require_peft((lora,))
            needed.append(needed_lora(lora, "depth lora"))
        return needed

    def find(self) -> Callable[[], LoadedPipeline]:
        """Check the options and every file of the model and its LoRAs."""
        device = resolve_device(self.options)
        dtype = resolve_dtype(self.options, device, self.accelerated)
        return find_flux(self.options, device, dtype).load
