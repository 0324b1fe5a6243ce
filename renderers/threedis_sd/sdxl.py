"""The ``sdxl`` renderer: Stable Diffusion XL with a depth ControlNet or a union ControlNet.

An option that only SDXL has is a field of ``SDXLOptions``, and ``SDXLRenderer`` uses it. The
options of all Stable Diffusion renderers, ``scheduler`` among them, are in ``options.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from threedis_diffusers.parts.options import PART
from threedis_diffusers.unet.prompts import Text
from threedis_sd.backend import UNetRenderer
from threedis_sd.controlnets import PLAIN, UNION
from threedis_sd.options import MODEL, UNetOptions

FIXED_VAE = "madebyollin/sdxl-vae-fp16-fix"
"""SDXL's VAE, made to work in float16."""
Pixels = Annotated[int, Field(ge=0)]
Pair = tuple[Pixels, Pixels]


class SDXLOptions(UNetOptions):
    """Options of ``sdxl``.

    The three pairs are SDXL's micro-conditioning: what the model is told of the picture that it
    draws, whatever that one's size is. Both halves of classifier-free guidance are told the same.
    """

    of_the_work = UNetOptions.work_and("original_size", "crop", "target_size")

    parts: ClassVar[tuple[str, ...]] = (*UNetOptions.parts, "text_encoder_2")

    model: str = Field(
        default="stabilityai/stable-diffusion-xl-base-1.0", min_length=1, description=MODEL
    )
    text_encoder_2: str | None = Field(
        default=None, min_length=1, description=f"A CLIPTextModelWithProjection {PART}"
    )
    original_size: Pair | None = Field(
        default=None,
        description="[width, height] in pixels that the model is told the picture had before it "
        "was resized; a small one gives a coarse picture. Null: the picture's own.",
    )
    crop: Pair = Field(
        default=(0, 0),
        description="[left, top] in pixels that the model is told were cut off; more than 0 moves "
        "objects out of the frame.",
    )
    target_size: Pair | None = Field(
        default=None,
        description="[width, height] in pixels that the model is told the picture has; null: the "
        "picture's own.",
    )


class SDXLRenderer(UNetRenderer):
    """Render depth maps with Stable Diffusion XL or any model of its classes."""

    Options = SDXLOptions
    options: SDXLOptions
    name: ClassVar[str] = "sdxl"
    default_controlnet: ClassVar[str] = "diffusers/controlnet-depth-sdxl-1.0"
    default_side: ClassVar[int] = 1024
    upcasts_vae: ClassVar[bool] = True
    for_cards: ClassVar[Mapping[str, Any]] = {"dtype": "float16", "vae": FIXED_VAE}
    model_classes: ClassVar[tuple[str, ...]] = (
        "StableDiffusionXLPipeline",
        "StableDiffusionXLControlNetPipeline",
        "StableDiffusionXLControlNetUnionPipeline",
    )
    pipeline_classes: ClassVar[Mapping[str, str]] = {
        PLAIN: "StableDiffusionXLControlNetPipeline",
        UNION: "StableDiffusionXLControlNetUnionPipeline",
    }
    needed: ClassVar[tuple[str, ...]] = (*UNetRenderer.needed, "text_encoder_2", "tokenizer_2")

    def encode(self, pipeline: Any, texts: list[str], device: torch.device) -> Text:
        """Embed texts with both text encoders; the pooled embedding is the second one's."""
        hidden, _, pooled, _ = pipeline.encode_prompt(
            texts,
            device=device,
            do_classifier_free_guidance=False,
            clip_skip=self.options.clip_skip,
        )
        return Text(hidden, pooled)

    def pipeline_arguments(self) -> dict[str, Any]:
        """The micro-conditioning, which diffusers takes height first."""
        options = self.options
        return {
            "original_size": _height_first(options.original_size),
            "crops_coords_top_left": _height_first(options.crop),
            "target_size": _height_first(options.target_size),
        }


def _height_first(pair: Pair | None) -> Pair | None:
    return None if pair is None else (pair[1], pair[0])
