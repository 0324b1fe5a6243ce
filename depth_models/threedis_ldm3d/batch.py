"""Make the depth maps of one batch: layouts of one size that go through the model together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.errors import RenderError
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.steps import OnStep, step_callback
from threedis_diffusers.unet.attention import attached
from threedis_diffusers.unet.prompts import BatchText, encode_batch
from threedis_ldm3d.conditions import LayoutConditions
from threedis_ldm3d.hook import ADAPTER, FUSION, LayoutHook
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.texts import encode_texts, pooled_nouns


@dataclass(frozen=True, eq=False)
class DepthBatch:
    """What goes through the model together.

    Args:
        layouts: One per map.
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
    Raises:
        RenderError: The device's memory is too small.
    """
    try:
        return _drawn(loaded, batch, options, on_step)
    except torch.OutOfMemoryError as error:
        raise RenderError(
            f"the device's memory is too small for {len(batch.layouts)} depth maps at once; "
            "set batch_size to less, or offload=model"
        ) from error
    finally:
        loaded.pipeline.maybe_free_model_hooks()


@torch.no_grad()
def _drawn(
    loaded: LoadedDepthPipeline, batch: DepthBatch, options: LDM3DOptions, on_step: OnStep
) -> Tensor:
    pipeline = loaded.pipeline
    width, height = batch.size
    layouts = [read_as_nouns(layout, options.negative_prompt) for layout in batch.layouts]
    hook, text = layout_hook(loaded, layouts, batch.size, options, guided=options.guidance > 1)
    with attached(hook):
        schedule = ControlSchedule(
            {
                ADAPTER: StepRange.first(options.adapter_steps),
                FUSION: StepRange.first(options.fuser_steps),
            }
        )
        hook.switch(schedule.active(0))
        latents = pipeline(
            width=width,
            height=height,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in batch.seeds],
            output_type="latent",
            callback_on_step_end=step_callback(
                pipeline, lambda step: hook.switch(schedule.active(step)), on_step
            ),
            **text.arguments,
        ).images
    decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    return decoded[:, -1].float().cpu()


def layout_hook(
    loaded: LoadedDepthPipeline,
    layouts: Sequence[Layout],
    size: tuple[int, int],
    options: LDM3DOptions,
    guided: bool,
) -> tuple[LayoutHook, BatchText]:
    """The hook for a batch, and the texts that the U-Net reads.

    Args:
        loaded: The model.
        layouts: One per picture; see ``read_as_nouns``.
        size: (width, height) in pixels.
        options: The depth model's options.
        guided: True with classifier-free guidance.
    """
    pipeline, repeat = loaded.pipeline, options.repeat_prompt
    text = encode_batch(lambda texts: encode_texts(loaded, texts), layouts, guided, repeat)
    pooled = pooled_nouns(loaded, layouts, repeat)
    width, height = size
    regions = [Regions.from_layout(layout, width, height) for layout in layouts]
    masks = [torch.from_numpy(some.pixel_masks(height, width)) for some in regions]
    corners = [[box.xyxy for box in some.boxes] for some in regions]
    boxes = [torch.tensor(some).reshape(-1, 4) for some in corners]
    factor = pipeline.vae_scale_factor
    plan = FusionPlan(masks, (height // factor, width // factor), options.alpha)
    conditions = LayoutConditions(masks, boxes, pooled, plan)
    wrap = torch.compiler.disable if options.compile else lambda processor: processor
    return LayoutHook(pipeline.unet, loaded.adapter, conditions, plan, text.rows, wrap), text
