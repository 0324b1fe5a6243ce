"""Make the depth maps of one batch: layouts of one size that go through the model together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.batch import OnStep
from threedis_diffusers.devices import attention_kernel
from threedis_diffusers.quiet import quiet
from threedis_diffusers.steps import step_callback
from threedis_diffusers.unet.attention import attached
from threedis_diffusers.unet.prompts import (
    Text,
    embedding_arguments,
    encode_batch,
    instance_prompts,
)
from threedis_ldm3d.conditions import LayoutConditions
from threedis_ldm3d.hook import ADAPTER, FUSION, LayoutHook
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions


@dataclass(frozen=True, eq=False)
class DepthBatch:
    """What goes through the model together.

    Args:
        layouts: One per map; see ``read_as_nouns``.
        seeds: Likewise.
        size: (width, height) in pixels.
    """

    layouts: Sequence[Layout]
    seeds: Sequence[int]
    size: tuple[int, int]


def read_as_nouns(layout: Layout, negative_prompt: str | None) -> Layout:
    """``layout`` as this stage reads it: bare nouns, since attributes belong to the pictures."""
    instances = tuple(
        instance.model_copy(update={"prompt": instance.noun}) for instance in layout.instances
    )
    changed: dict[str, Any] = {"instances": instances}
    if negative_prompt is not None:
        changed["negative_prompt"] = negative_prompt
    return layout.model_copy(update=changed)


@torch.no_grad()
def generate_depth(
    loaded: LoadedDepthPipeline, batch: DepthBatch, options: LDM3DOptions, on_step: OnStep
) -> Tensor:
    """Draw latents with the stock pipeline, the hook in its U-Net, and decode their depth.

    Args:
        loaded: The model.
        batch: What to make.
        options: The depth model's options.
        on_step: Told after each step; what it raises ends the run.
    Returns:
        The decoded pictures' last channel, float32, shape (B, H, W), about -1 to 1; 1 is nearest.
    """
    pipeline = loaded.pipeline
    width, height = batch.size
    guided = options.guidance > 1
    with attention_kernel(options.attention_backend):
        text = encode_batch(
            lambda texts: encode_texts(loaded, texts), batch.layouts, guided, options.repeat_prompt
        )
        hook = layout_hook(loaded, batch, options, text.rows())
        schedule = ControlSchedule(
            {
                ADAPTER: StepRange.first(options.adapter_steps),
                FUSION: StepRange.first(options.fuser_steps),
            }
        )

        def switch(step: int) -> None:
            hook.switch(schedule.active(step))

        with attached(*hook.processor_hooks):
            latents = pipeline(
                width=width,
                height=height,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in batch.seeds],
                output_type="latent",
                callback_on_step_end=step_callback(pipeline, switch, on_step),
                **embedding_arguments(text),
            ).images
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    pipeline.maybe_free_model_hooks()
    return decoded[:, -1].float().cpu()


def layout_hook(
    loaded: LoadedDepthPipeline, batch: DepthBatch, options: LDM3DOptions, text: Tensor
) -> LayoutHook:
    """The hook for a batch; ``text`` holds the embeddings of all rows, shape (rows, L, T)."""
    pipeline = loaded.pipeline
    width, height = batch.size
    regions = [Regions.from_layout(layout, width, height) for layout in batch.layouts]
    masks = [torch.from_numpy(some.pixel_masks(height, width)) for some in regions]
    factor = pipeline.vae_scale_factor
    plan = FusionPlan(masks, (height // factor, width // factor), options.alpha)
    corners = [[box.xyxy for box in some.boxes] for some in regions]
    boxes = [torch.tensor(some).reshape(-1, 4) for some in corners]
    pooled = [_pooled(loaded, layout, options.repeat_prompt) for layout in batch.layouts]
    conditions = LayoutConditions(masks, boxes, pooled, plan)
    wrap = torch.compiler.disable if options.compile else lambda processor: processor
    return LayoutHook(pipeline.unet, loaded.adapter, conditions, plan, text, wrap)


def encode_texts(loaded: LoadedDepthPipeline, texts: list[str]) -> Text:
    """The text encoder's hidden states, (texts, L, T); nouns repeat, so each is encoded once."""
    once, places = _once(texts)
    with quiet():  # the pipeline's warning of long prompts
        return Text(loaded.pipeline.encode_prompt(once, loaded.device, 1, False)[0][places])


def _pooled(loaded: LoadedDepthPipeline, layout: Layout, repeat: bool) -> Tensor:
    """The text encoder's pooled embedding of each instance's noun, shape (N, T)."""
    pipeline, texts = loaded.pipeline, instance_prompts(layout, repeat)
    width = pipeline.text_encoder.config.hidden_size
    if not texts:
        return torch.zeros(0, width)
    once, places = _once(texts)
    tokens = pipeline.tokenizer(
        once,
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return pipeline.text_encoder(tokens.to(loaded.device)).pooler_output[places]


def _once(texts: list[str]) -> tuple[list[str], list[int]]:
    """The texts without repetition, and where each of ``texts`` is among them."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(numbers), [numbers[text] for text in texts]
