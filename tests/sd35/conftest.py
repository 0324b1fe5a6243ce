"""Tiny real pipelines of Stable Diffusion 3.5 on disk, with both kinds of ControlNets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
)
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5EncoderModel,
)

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import awaken
from threedis_sd35.backend import SD35Options, SD35Renderer

torch.set_num_threads(1)

PARTS = Path(__file__).parents[1] / "golden" / "flux_pipe"
STEPS, GUIDANCE, TOKENS = 3, 4.0, 24
SIZES: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 2,
    "out_channels": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 20,
    "pos_embed_max_size": 6,
}
TRANSFORMER: dict[str, Any] = {
    **SIZES,
    "num_layers": 4,
    "joint_attention_dim": 24,
    "dual_attention_layers": (0, 1),
    "qk_norm": "rms_norm",
}
CONTROLNETS: dict[str, dict[str, Any]] = {
    "large": {
        **SIZES,
        "num_layers": 2,
        "joint_attention_dim": None,
        "use_pos_embed": False,
        "pos_embed_type": None,
        "force_zeros_for_pooled_projection": False,
    },
    "medium": {
        **SIZES,
        "num_layers": 2,
        "joint_attention_dim": 24,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
        "force_zeros_for_pooled_projection": False,
    },
}
"""Text-less as the large model's, and with text as the medium one's."""
SMALL: dict[str, Any] = {
    "steps": STEPS,
    "guidance": GUIDANCE,
    "tokens_per_prompt": TOKENS,
    "default_side": 64,
    "controlnet_scale": 0.5,
}


def tiny_clip(width: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=width,
            bos_token_id=512,
            eos_token_id=513,
        )
    )


def tiny_pipeline(kind: str, transformer: dict[str, Any] | None = None) -> Any:
    """A pipeline with the ControlNet of a kind, no weight of which is all zero."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(PARTS / "tokenizer")
    t5 = T5EncoderModel.from_pretrained(PARTS / "text_encoder_2", dtype=torch.float32)
    pipeline = StableDiffusion3ControlNetPipeline(
        transformer=SD3Transformer2DModel(**(transformer or TRANSFORMER)),
        controlnet=SD3ControlNetModel(**CONTROLNETS[kind]),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL.from_pretrained(PARTS / "vae", dtype=torch.float32),
        text_encoder=tiny_clip(8),
        text_encoder_2=tiny_clip(12),
        text_encoder_3=t5,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=AutoTokenizer.from_pretrained(PARTS / "tokenizer_2"),
    )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            awaken(part).eval()
    return pipeline


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the pipeline with a kind of ControlNet inside, made when first asked for."""
    folders: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("model") / f"tiny-{kind}"
            tiny_pipeline(kind).save_pretrained(folders[kind])
        return folders[kind]

    return find


@pytest.fixture(scope="session")
def loaded(folder_of: Callable[[str], Path]) -> Callable[[str], SD35Renderer]:
    """A loaded renderer for each kind of ControlNet."""
    found: dict[str, SD35Renderer] = {}

    def load(kind: str) -> SD35Renderer:
        if kind not in found:
            found[kind] = SD35Renderer(SD35Options(model=str(folder_of(kind)), **SMALL))
            found[kind].load()
        return found[kind]

    return load


@pytest.fixture
def make_renderer(
    folder_of: Callable[[str], Path], loaded: Callable[[str], SD35Renderer]
) -> Callable[..., SD35Renderer]:
    """A renderer with other options on a model that is loaded already."""

    def make(kind: str = "large", **options: Any) -> SD35Renderer:
        given = {"model": str(folder_of(kind)), **SMALL, **options}
        other = SD35Renderer(SD35Options(**given))
        other._loaded = loaded(kind).load()
        return other

    return make


@pytest.fixture(scope="session")
def stock_picture(folder_of: Callable[[str], Path]) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours.

    It samples the depth's latents from torch's own generator, which gets the request's seed.
    """
    pipelines: dict[str, Any] = {}

    def render(request: RenderRequest, kind: str = "large", **arguments: Any) -> Image.Image:
        if kind not in pipelines:
            pipelines[kind] = StableDiffusion3ControlNetPipeline.from_pretrained(folder_of(kind))
            pipelines[kind].set_progress_bar_config(disable=True)
            pipelines[
                kind
            ].vae.enable_slicing()  # ours encodes pictures one by one, which rounds otherwise
        fixed = {
            "num_inference_steps": STEPS,
            "guidance_scale": GUIDANCE,
            "max_sequence_length": TOKENS,
            "controlnet_conditioning_scale": SMALL["controlnet_scale"],
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            return pipelines[kind](
                request.layout.prompt,
                negative_prompt=request.layout.negative_prompt,
                control_image=request.depth.resize(request.width, request.height).to_image(),
                width=request.width,
                height=request.height,
                generator=torch.Generator().manual_seed(request.seed),
                **{**fixed, **arguments},
            ).images[0]

    return render
