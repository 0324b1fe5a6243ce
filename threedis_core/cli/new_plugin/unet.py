"""A renderer on a Stable Diffusion pipeline: another U-Net with a depth ControlNet."""

FILES = {
    "$module/__init__.py": '''
"""The renderer ``$name``. Nothing else is imported here, so that listing plugins stays fast."""

from threedis_core import hookimpl


@hookimpl
def threedis_register_renderers(register):
    backend = "$module.backend:${title}Renderer"
    register("$name", backend, "What it draws with, in a few words")
''',
    "$module/backend.py": '''
"""The renderer ``$name``: a U-Net of Stable Diffusion 1.5's classes with a depth ControlNet.

Files, devices, offload, LoRAs, batches, the hook, progress and provenance are the base's. A model
that encodes texts in a way of its own overrides ``encode``; one whose pipeline takes more
arguments, ``pipeline_arguments``: see ``help(UNetRenderer)``.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from threedis_sd.backend import UNetRenderer
from threedis_sd.options import MODEL, UNetOptions


class ${title}Options(UNetOptions):
    """Those of every U-Net, with this model's own defaults."""

    model: str = Field(
        default="stable-diffusion-v1-5/stable-diffusion-v1-5", min_length=1, description=MODEL
    )
    steps: int = Field(default=30, ge=1, le=1000, description="Denoising steps, 1 to 1000.")


class ${title}Renderer(UNetRenderer):
    """Render depth maps with this model."""

    Options = ${title}Options
    name: ClassVar[str] = "$name"
    default_controlnet: ClassVar[str] = "lllyasviel/control_v11f1p_sd15_depth"
    default_side: ClassVar[int] = 512
''',
    "tests/tiny.py": '''
"""The model's own classes at a tiny size, with random weights: seconds on a CPU."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from threedis_diffusers.testing import awaken

WIDTH = 24  # of a text's embedding


def tiny_pipeline() -> StableDiffusionControlNetPipeline:
    """Always the same weights."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(32, 48),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=(2, 4),
        cross_attention_dim=WIDTH,
    )
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
    return StableDiffusionControlNetPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=64,
        ),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=unet,
        controlnet=awaken(controlnet),  # its last layers are zero: nothing would be seen of it
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return CLIPTextModel(config)


def tokenizer() -> CLIPTokenizer:
    """Letter by letter."""
    letters = bytes_as_letters()
    tokens = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def bytes_as_letters() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
''',
    "tests/test_$module.py": '''
"""``$name`` passes the suite that every renderer on a diffusers pipeline must pass."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_pipeline

from $module.backend import ${title}Options, ${title}Renderer
from threedis_diffusers.testing import DiffusersConformance

STEPS, SCALE = 2, 10.0  # so much that a tiny ControlNet of random weights is seen


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


class Test${title}(DiffusersConformance):
    plugin_module = "$module"

    @pytest.fixture(autouse=True)
    def _model(self, folder):
        self.folder = folder

    def make_backend(self, **options):
        fixed = {
            "model": str(self.folder),
            "steps": STEPS,
            "controlnet_scale": SCALE,
            "controlnet_prompt": None,
            "controlnet_negative_prompt": None,
        }
        return ${title}Renderer(${title}Options(**{**fixed, **options}))

    def make_backend_without_weights(self):
        return ${title}Renderer(${title}Options(model="/no/such/model"))

    def base_model_picture(self, request):
        """The stock pipeline alone, never the renderer under test."""
        pipeline = tiny_pipeline()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            request.layout.prompt,
            image=request.depth.to_image(),
            negative_prompt=request.layout.negative_prompt or None,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
            controlnet_conditioning_scale=SCALE,
            generator=torch.Generator().manual_seed(request.seed),
        ).images[0]
''',
}
