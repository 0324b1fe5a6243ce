"""The base of every Stable Diffusion renderer: a stock pipeline plus the region hook.

A family says what it calls for beside what is here; see ``sd15.py`` and ``sdxl.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from PIL import Image

from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.values.layout import Layout
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.devices import prefers_half, resolve_device, resolve_dtype
from threedis_diffusers.instance_loras.placed import place_loras
from threedis_diffusers.loras import find_files, find_loras
from threedis_diffusers.model_files.facts import model_facts
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import find_parts
from threedis_diffusers.quiet import quiet
from threedis_diffusers.schedulers import find_scheduler
from threedis_diffusers.steps import OnStep
from threedis_diffusers.unet.clip_skip import without_last_layers
from threedis_diffusers.unet.compel_prompts import check_syntax, compel_text, require_compel
from threedis_diffusers.unet.instance_loras import placeless
from threedis_diffusers.unet.prompts import Text, named_prompts
from threedis_sd.batch import (
    CONTROL,
    draw_pictures,
    fusion_plan,
    lost_warnings,
    pixel_masks,
    text_warnings,
)
from threedis_sd.controlnet_text import named_controlnet_prompts
from threedis_sd.controlnets import PLAIN, find_controlnet, find_more, read_control_picture
from threedis_sd.loading import (
    CONTROLNET,
    CheckedPipeline,
    check_clip_skip,
    check_fit,
    controlnet_place,
    find_model,
    model_source,
    own_controlnet,
)
from threedis_sd.needed_files import needed_models
from threedis_sd.options import UNetOptions


class UNetRenderer(DiffusersRenderer):
    """Render depth maps with a U-Net, its depth ControlNet and regional cross-attention.

    A family gives the class attributes; those with a value here are of models with one text
    encoder.

    Args:
        default_controlnet: Hub id.
        default_side: The model's own side in pixels.
        model_classes: Pipeline classes that a model may have been saved with.
        pipeline_classes: The pipeline class to load for each class of ControlNet.
        needed: Parts without which a model does not work.
    """

    Options: ClassVar[type[UNetOptions]]
    options: UNetOptions
    default_controlnet: ClassVar[str]
    default_side: ClassVar[int]
    model_classes: ClassVar[tuple[str, ...]] = (
        "StableDiffusionPipeline",
        "StableDiffusionControlNetPipeline",
    )
    pipeline_classes: ClassVar[Mapping[str, str]] = {PLAIN: "StableDiffusionControlNetPipeline"}
    for_cards: ClassVar[Mapping[str, Any]] = {"dtype": "float16"}
    needed: ClassVar[tuple[str, ...]] = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")

    def encode(self, pipeline: Any, texts: list[str], device: torch.device) -> Text:
        """Embed texts as the family's stock pipeline does."""
        with without_last_layers(pipeline.text_encoder, self.options.clip_skip):
            return Text(pipeline.encode_prompt(texts, device, 1, False)[0])

    def pipeline_arguments(self) -> dict[str, Any]:
        """What the family's pipeline is told beside what every one is told."""
        return {}

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this backend can do; a local model's own size is its default size."""
        facts = model_facts(self.model_source())
        side = self.default_side if facts.side is None else facts.side
        return Capabilities(
            size_multiple=facts.vae_factor,
            default_size=(side, side),
            default_steps=self.options.steps,
            default_guidance=self.options.guidance,
            controls=frozenset({CONTROL}),
            instance_loras=frozenset(self.options.instance_loras),
        )

    @cached_property
    def control_pictures(self) -> list[Image.Image]:
        """One for each ControlNet beside the depth one, read once.

        Raises:
            OptionError: One cannot be read.
        """
        return [read_control_picture(one) for one in self.options.more_controlnets]

    def load_key(self) -> object:
        """All that decides what is loaded; of the other ControlNets that is the model alone."""
        return super().load_key(), [one.model for one in self.options.more_controlnets]

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """The region hook is on for the first ``control_steps`` steps."""
        return ControlSchedule({CONTROL: StepRange.first(self.options.control_steps)})

    def as_read(self, layout: Layout) -> Layout:
        """The layout as the model is to read it, with the options' negative prompt if it has none.

        With the nouns in the prompt, too, if the options say so.
        """
        read = super().as_read(layout)
        negative = layout.negative_prompt or self.options.default_negative_prompt
        return read.model_copy(update={"negative_prompt": negative})

    def check_texts(self, layout: Layout) -> None:
        """See that the prompts can be read.

        Raises:
            LayoutError: A prompt that is not in the syntax of the options.
        """
        if self.options.prompt_syntax == "compel":
            named = named_prompts(self.as_read(layout), guided=True)
            check_syntax([*named, *named_controlnet_prompts(self.options, guided=True)])

    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch with the region hook in the U-Net."""
        pipeline = loaded.pipeline
        plan = fusion_plan(pipeline, batch, self.options)

        def encode(texts: list[str]) -> Text:
            with quiet():  # the pipeline's own warning of long prompts; ours are text_warnings
                if self.options.prompt_syntax == "compel":
                    return compel_text(pipeline, texts, loaded.device)
                return self.encode(pipeline, texts, loaded.device)

        arguments = self.pipeline_arguments()
        loras = place_loras(loaded.instance_loras, batch, pixel_masks(batch))
        images = draw_pictures(
            *(pipeline, encode, batch, plan, self.options, on_step),
            loras,
            self.control_pictures,
            **arguments,
        )
        unplaced = [] if loras is None else loras.left_out(placeless(loras.adapters, pipeline.unet))
        cut = text_warnings(pipeline, batch, self.options)
        lost = [lost_warnings(one, plan.lost(i)) for i, one in enumerate(batch.requests)]
        used = self._controlnet_used()
        return [
            Drawn(image, (*unread, *unseen, *unplaced), used)
            for image, unread, unseen in zip(images, cut, lost, strict=True)
        ]

    def _controlnet_used(self) -> dict[str, str]:
        """Which ControlNet it is where the options do not say."""
        if self.options.controlnet is not None:
            return {}
        source = self.own_controlnet()
        return {"controlnet": "the model's own" if source.subfolder else source.name}

    def needed_models(self) -> Sequence[NeededModel]:
        """The model, its ControlNet, and its VAE if it has another one."""
        found = needed_models(
            self.options,
            self.model_source(),
            self.own_controlnet(),
            model_classes=self.model_classes,
            needed=self.needed,
            pipeline_classes=self.pipeline_classes,
        )
        return list(found)

    def find(self) -> Callable[[], LoadedPipeline]:
        """Check the options and every file of the model, its ControlNet, VAE and LoRAs."""
        options = self.options
        if options.prompt_syntax == "compel":
            require_compel()
        _ = self.control_pictures
        device = resolve_device(options)
        dtype = resolve_dtype(options, device)
        half = prefers_half(options, dtype)
        model = replace(self.model_source(), half=half)
        load_model = find_model(options, model, self.name, self.model_classes, self.needed)
        check_clip_skip(options.clip_skip, model, self.needed)
        found = find_parts(options, model, dtype, apart=(CONTROLNET,))
        check_fit(options, found, model)
        controlnet = find_controlnet(
            controlnet_place(options, self.own_controlnet(), half),
            self.own_controlnet(),
            found.configuration("unet", model),
            tuple(self.pipeline_classes),
            dtype,
            options.wanted.get(CONTROLNET),
        )
        more = find_more(
            *(options, controlnet, self.own_controlnet()), found.configuration("unet", model), half
        )
        return CheckedPipeline(
            options,
            self.pipeline_classes[controlnet.kind],
            load_model,
            replace(found, parts={**found.parts, CONTROLNET: controlnet}),
            loras=find_loras([*options.loras, *options.instance_loras.values()]),
            scheduler=find_scheduler(
                options.scheduler, model, lambda made: made.set_timesteps(options.steps)
            ),
            embeddings=find_files(options.embeddings),
            device=device,
            dtype=dtype,
            side=max(self.capabilities.default_size),
            more_controlnets=more,
        ).load

    def model_source(self) -> ModelSource:
        """Where the model's configuration is."""
        default_model = type(self).Options.model_fields["model"].default
        return model_source(self.options, default_model)

    def own_controlnet(self) -> ModelSource:
        """Where the ControlNet is that nobody named."""
        return own_controlnet(self.model_source(), self.default_controlnet)
