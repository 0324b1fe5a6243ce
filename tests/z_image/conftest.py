"""Tiny real pipelines of Z-Image on disk, with each kind of ControlNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
    ZImageTransformer2DModel,
)
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import awaken
from threedis_z_image.backend import ZImageOptions, ZImageRenderer

torch.set_num_threads(1)

PARTS = Path(__file__).parents[1] / "golden" / "flux_pipe"
SIDE, STEPS = 64, 3
SHARED: dict[str, Any] = {"dim": 32, "n_heads": 2, "n_kv_heads": 2, "n_refiner_layers": 1}
TRANSFORMER: dict[str, Any] = {
    **SHARED,
    "in_channels": 2,
    "n_layers": 4,
    "cap_feat_dim": 16,
    "axes_dims": (8, 4, 4),
    "axes_lens": (600, 24, 24),
}
CONTROLNETS: dict[str, dict[str, Any]] = {
    "1": {"control_in_dim": 2, "add_control_noise_refiner": None},
    "2.0": {"control_in_dim": 5, "add_control_noise_refiner": "control_layers"},
    "2.1": {"control_in_dim": 5, "add_control_noise_refiner": "control_noise_refiner"},
}
"""Those of the published versions; lite ones of 2.1 have fewer layers."""
SMALL: dict[str, Any] = {"steps": STEPS, "default_side": SIDE}
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>user {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>me{% endif %}"
)
LENT = (
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder"),
    *("noise_refiner", "context_refiner", "x_pad_token", "cap_pad_token"),
)
"""What a pipeline lends its ControlNet of the transformer."""


def tiny_tokenizer() -> Qwen2Tokenizer:
    letters = sorted(ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate([*letters, *MARKS])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=[*MARKS[1:]])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_qwen() -> Qwen3Model:
    return Qwen3Model(
        Qwen3Config(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=1024,
        )
    )


def tiny_controlnet(kind: str, **changes: Any) -> ZImageControlNetModel:
    places = {"control_layers_places": [0, 2], "control_refiner_layers_places": [0]}
    return ZImageControlNetModel(**{**SHARED, **places, **CONTROLNETS[kind], **changes})


def tiny_pipeline(kind: str) -> Any:
    """A pipeline with the ControlNet of a kind, no weight of which is all zero."""
    torch.manual_seed(0)
    pipeline = ZImageControlNetPipeline(
        transformer=ZImageTransformer2DModel(**TRANSFORMER),
        controlnet=tiny_controlnet(kind),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL.from_pretrained(PARTS / "vae", dtype=torch.float32),
        text_encoder=tiny_qwen(),
        tokenizer=tiny_tokenizer(),  # pyright: ignore[reportArgumentType]
    )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            awaken(part).eval()
    return pipeline


def save(pipeline: Any, folder: Path) -> Path:
    """Save a pipeline as it is published: what the ControlNet is lent is in the transformer."""
    for name in LENT:
        setattr(pipeline.controlnet, name, None)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the pipeline with a kind of ControlNet inside, made when first asked for."""
    folders: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = save(tiny_pipeline(kind), tmp_path_factory.mktemp("model") / kind)
        return folders[kind]

    return find


@pytest.fixture
def make_renderer(folder_of: Callable[[str], Path]) -> Callable[..., ZImageRenderer]:
    """A renderer with the ControlNet of a kind."""

    def make(kind: str = "2.1", **options: Any) -> ZImageRenderer:
        given = {"model": str(folder_of(kind)), **SMALL, **options}
        return ZImageRenderer(ZImageOptions(**given))

    return make


@pytest.fixture(scope="session")
def stock_picture(folder_of: Callable[[str], Path]) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours."""
    pipelines: dict[str, Any] = {}

    def render(request: RenderRequest, kind: str = "2.1", **arguments: Any) -> Image.Image:
        if kind not in pipelines:
            pipelines[kind] = ZImageControlNetPipeline.from_pretrained(folder_of(kind))
            pipelines[kind].set_progress_bar_config(disable=True)
        fixed = {"num_inference_steps": STEPS, "guidance_scale": 0.0}
        return pipelines[kind](
            [request.layout.prompt],
            negative_prompt=[request.layout.negative_prompt],
            control_image=request.depth.resize(request.width, request.height).to_image(),
            width=request.width,
            height=request.height,
            generator=torch.Generator().manual_seed(request.seed),
            **{**fixed, **arguments},
        ).images[0]

    return render
