"""Render one batch: requests that share size, steps, guidance and schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.attention_kernel import attention_kernel
from threedis_diffusers.batch import Batch
from threedis_diffusers.cut_prompts import cut_warnings, tokenize
from threedis_diffusers.instance_loras.cells import Strengths
from threedis_diffusers.instance_loras.layers import LoRAHook
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.steps import OnStep, step_callback
from threedis_diffusers.unet.attention import RegionHook, attached
from threedis_diffusers.unet.instance_loras import UNetLoRAs, cell_texts
from threedis_diffusers.unet.prompts import (
    BatchText,
    Encode,
    encode_batch,
    named_prompts,
)
from threedis_sd.controlnet_text import (
    controlnet_reads,
    controlnet_text,
    named_controlnet_prompts,
)
from threedis_sd.controlnets import control_arguments, depth_of, pictures_apart
from threedis_sd.lowpass import ResidualFilter, low_passed
from threedis_sd.options import UNetOptions

CONTROL = "regions"
"""The one control of a U-Net: the region hook."""


def fusion_plan(pipeline: Any, batch: Batch, options: UNetOptions) -> FusionPlan:
    """The fusion weights of ``batch`` on the pipeline's latent grid."""
    width, height = batch.size
    factor = pipeline.vae_scale_factor
    return FusionPlan(
        pixel_masks(batch),
        (height // factor, width // factor),
        options.alpha,
        options.background_weight,
    )


def pixel_masks(batch: Batch) -> list[Tensor]:
    """Per request its instances' masks, shape (N, H, W)."""
    width, height = batch.size
    return [torch.from_numpy(one.regions.pixel_masks(height, width)) for one in batch.requests]


def is_guided(pipeline: Any, batch: Batch) -> bool:
    """True if the pipeline will use classifier-free guidance, and so negative prompts."""
    return batch.guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None


def text_warnings(pipeline: Any, batch: Batch, options: UNetOptions) -> list[list[str]]:
    """Per request one line per text that the model reads only in part."""
    if options.prompt_syntax == "compel":  # which cuts nothing
        return [[] for _ in batch.requests]
    guided, known = is_guided(pipeline, batch), dict[Any, list[str]]()
    warnings: list[list[str]] = []
    for request in batch.requests:
        named = (*named_prompts(request.layout, guided), *named_controlnet_prompts(options, guided))
        if named not in known:  # a batch is often one layout with several seeds
            # A word that stands for an embedding of several vectors is as many tokens.
            read = [(name, _as_tokens(pipeline, text)) for name, text in named]
            prompts = tokenize(pipeline.tokenizer, read)
            known[named] = cut_warnings(pipeline.tokenizer, prompts)
        warnings.append(known[named])
    return warnings


def _as_tokens(pipeline: Any, text: str) -> str:
    return pipeline.maybe_convert_prompt(text, pipeline.tokenizer)


def lost_warnings(request: RenderRequest, lost: Sequence[int]) -> list[str]:
    """One line per instance whose region is too small to be seen."""
    instances = request.layout.instances
    return [
        f"the region of instance {index} ({instances[index].prompt!r}) covers no latent pixel at "
        f"{request.width}x{request.height}, so its prompt is not drawn there: enlarge its box or "
        "the picture"
        for index in lost
    ]


def draw_pictures(
    pipeline: Any,
    encode: Encode,
    batch: Batch,
    plan: FusionPlan,
    options: UNetOptions,
    on_step: OnStep,
    loras: PlacedLoRAs | None = None,
    pictures: Sequence[Image.Image] = (),
    **arguments: Any,
) -> Any:
    """Call the stock pipeline with the region hook in its place.

    Args:
        pipeline: The loaded pipeline.
        encode: The model's text encoding.
        batch: What to render.
        plan: The batch's fusion weights.
        options: The renderer's options.
        on_step: Told after each time step; what it raises ends the run.
        loras: LoRAs of instances; None: there are none.
        pictures: One for each ControlNet beside the depth one.
        **arguments: Passed on to the pipeline (``latents``, ``output_type``).
    Returns:
        The pipeline's images.
    """
    with torch.no_grad(), attention_kernel(options.attention_backend):
        read = read_texts(pipeline, encode, batch, plan, options, loras)
        hooks = region_hooks(pipeline, batch, plan, read.text, options, read.by_cell)

        def switch(step: int) -> None:
            for hook in hooks:
                hook.switch(on=CONTROL in batch.schedule.active(step))

        with attached(*hooks), own_control(pipeline, batch, read.controlnet, options):
            switch(0)
            return pipeline(
                **stock_arguments(pipeline, batch, options, pictures),
                callback_on_step_end=step_callback(pipeline, switch, on_step),
                **read.text.arguments,
                **arguments,
            ).images


@dataclass(frozen=True, eq=False)
class ReadTexts:
    """All that the model reads for a batch.

    Args:
        text: The pictures' prompts and their instances'.
        by_cell: LoRAs of instances and what each of their cells reads; None: there are none.
        controlnet: What the ControlNet reads; None: the pictures' text. See ``controlnet_text``.
    """

    text: BatchText
    by_cell: UNetLoRAs | None
    controlnet: Tensor | None


def read_texts(
    pipeline: Any,
    encode: Encode,
    batch: Batch,
    plan: FusionPlan,
    options: UNetOptions,
    loras: PlacedLoRAs | None,
) -> ReadTexts:
    """Embed every text of a batch, with LoRAs in the text encoders where they count."""
    guided = is_guided(pipeline, batch)
    layouts = [request.layout for request in batch.requests]
    zeros = pipeline.config.get("force_zeros_for_empty_prompt", False)

    def reading(strengths: Strengths) -> Encode:
        return encode if loras is None else loras.encoding(pipeline, encode, strengths)

    def read(strengths: Strengths) -> BatchText:
        return encode_batch(reading(strengths), layouts, guided, options.repeat_prompt, zeros)

    whole = {} if loras is None else loras.places.least()
    text, by_cell = read(whole), None
    if loras is not None:
        texts = cell_texts(loras, pipeline, read, text)
        by_cell = UNetLoRAs(loras.adapters, loras.places, plan, texts)
    return ReadTexts(text, by_cell, controlnet_text(reading(whole), text, options))


@contextmanager
def own_control(
    pipeline: Any, batch: Batch, text: Tensor | None, options: UNetOptions
) -> Iterator[None]:
    """Have the depth ControlNet read its own text, and filter what it gives, while inside."""
    controlnet = depth_of(pipeline.controlnet)
    with ExitStack() as stack:
        stack.enter_context(pictures_apart(controlnet))
        if text is not None:
            stack.enter_context(controlnet_reads(controlnet, text))
        if options.low_pass is not None:
            regions = [request.regions for request in batch.requests]
            lowpass = ResidualFilter(regions, batch.size[1], options.low_pass)
            stack.enter_context(low_passed(controlnet, lowpass))
        yield


def stock_arguments(
    pipeline: Any, batch: Batch, options: UNetOptions, pictures: Sequence[Image.Image]
) -> dict[str, Any]:
    """What the stock pipeline is told of a batch beside its texts."""
    width, height = batch.size
    depth = [request.depth.resize(width, height).to_image() for request in batch.requests]
    return {
        "width": width,
        "height": height,
        "num_inference_steps": batch.steps,
        "guidance_scale": batch.guidance,
        "generator": [torch.Generator().manual_seed(one.seed) for one in batch.requests],
        **control_arguments(pipeline, depth, batch.size, options, pictures),
    }


def region_hooks(
    pipeline: Any,
    batch: Batch,
    plan: FusionPlan,
    text: BatchText,
    options: UNetOptions,
    loras: UNetLoRAs | None = None,
) -> list[RegionHook | LoRAHook]:
    """The hooks of a batch, not switched on yet; none if it has no instances."""
    if sum(plan.counts) == plan.pictures or CONTROL not in batch.schedule.ranges:
        return []
    # A run's own state would make the compiler guess anew; the stock blocks stay compiled.
    wrap = torch.compiler.disable if options.compile else _as_it_is
    hooks: list[RegionHook | LoRAHook] = [RegionHook(pipeline.unet, plan, text.rows, wrap, loras)]
    if options.control_cn:
        hooks.append(RegionHook(depth_of(pipeline.controlnet), plan, text.rows, wrap))
    return hooks if loras is None else [*hooks, loras.hook(pipeline.unet)]


def _as_it_is(processor: Any) -> Any:
    return processor
