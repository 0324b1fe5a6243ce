"""Render one batch with FLUX: requests that share size, steps, guidance and schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from threedis_core.attention import ChosenLowering
from threedis_diffusers.attention_kernel import attention_kernel
from threedis_diffusers.batch import Batch
from threedis_diffusers.instance_loras.layers import Adapters, everywhere
from threedis_diffusers.instance_loras.placed import place_loras, text_encoders
from threedis_diffusers.steps import OnStep, step_callback
from threedis_flux.hook import JointHook, attached
from threedis_flux.instance_loras import placeless
from threedis_flux.lowering import choose
from threedis_flux.options import FluxOptions
from threedis_flux.texts import PictureText, encode_picture

PATCH = 2
"""Latent pixels on a side of an image token."""


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """What a batch came to.

    Args:
        images: The pipeline's images.
        texts: Per picture what the model read, and what it did not.
        lowerings: How the plan was carried out, by the controls of each phase, in order.
        warnings: Of the batch, one line each.
    """

    images: Any
    texts: list[PictureText]
    lowerings: Mapping[frozenset[str], ChosenLowering]
    warnings: Sequence[str] = ()


def draw_pictures(
    pipeline: Any,
    batch: Batch,
    options: FluxOptions,
    device: torch.device,
    on_step: OnStep,
    adapters: Adapters | None = None,
    **arguments: Any,
) -> DrawnBatch:
    """Call the stock pipeline with the joint-attention hook in its place.

    Args:
        pipeline: The loaded ``FluxControlPipeline``.
        batch: What to render.
        options: The renderer's options.
        device: Where the pipeline computes.
        on_step: Told after each time step; what it raises ends the run.
        adapters: LoRAs that instances may name; None: there are none.
        **arguments: Passed on to the pipeline (``latents``, ``output_type``).
    """
    width, height = batch.size
    rows, columns = (side // (pipeline.vae_scale_factor * PATCH) for side in (height, width))
    kernel = "native" if options.attention_backend == "flex" else options.attention_backend
    # Whether any instance is heard at any step.
    heard = any(phase.controls for phase in batch.schedule.phases(batch.steps))
    masks = [request.regions.token_masks(rows, columns) for request in batch.requests]
    loras = place_loras(adapters if heard else None, batch, [*map(torch.from_numpy, masks)])
    whole = {} if loras is None else loras.places.least()
    with torch.no_grad(), attention_kernel(kernel):
        with everywhere(adapters, whole, *text_encoders(pipeline)):
            texts = [
                encode_picture(
                    pipeline,
                    request.layout,
                    heard and len(request.regions) > 0,
                    options.tokens_per_prompt,
                )
                for request in batch.requests
            ]
        head = pipeline.transformer.config.attention_head_dim
        depth = [request.depth.resize(width, height).to_image() for request in batch.requests]
        hook = JointHook(
            pipeline.transformer,
            [text.hidden for text in texts],
            [mask[: len(text.hidden) - 1] for mask, text in zip(masks, texts, strict=True)],
            batch.schedule,
            choose(options, device, texts[0].hidden.dtype, head),
            device,
            cached=options.cache is not None,
            loras=loras,
        )
        seeds = [request.seed for request in batch.requests]
        given = {
            "prompt_embeds": hook.plain_text,
            "pooled_prompt_embeds": torch.stack([text.pooled for text in texts]),
            "control_image": depth,
            "width": width,
            "height": height,
            "num_inference_steps": batch.steps,
            "guidance_scale": batch.guidance,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
        }
        with attached(hook, pipeline.transformer):
            given["callback_on_step_end"] = step_callback(pipeline, hook.step, on_step)
            images = pipeline(**{**given, **arguments}).images
    unplaced = [] if loras is None else loras.left_out(placeless(loras.adapters, pipeline))
    # After the last step the hook is at the next one, which there is not.
    phases = batch.schedule.phases(batch.steps)
    lowerings = {one.controls: hook.chosen[one.controls] for one in phases}
    return DrawnBatch(images, texts, lowerings, unplaced)
