"""A tiny real pipeline of Qwen-Image on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageTransformer2DModel,
)
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import awaken
from threedis_pocket.qwen_image_models import TEMPLATE_WORDS
from threedis_pocket.qwen_tokenizer import build_qwen_tokenizer
from threedis_qwen_image.backend import QwenImageOptions, QwenImageRenderer

torch.set_num_threads(1)

SIDE, STEPS, GUIDANCE = 64, 3, 3.0
SHARED: dict[str, Any] = {
    "in_channels": 16,
    "out_channels": 4,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "axes_dims_rope": (4, 4, 8),
}
SMALL: dict[str, Any] = {"steps": STEPS, "default_side": SIDE, "guidance": GUIDANCE}


def tiny_qwen_vl() -> Qwen2_5_VLForConditionalGeneration:
    """Text alone; of the eye the least that there may be."""
    text = {
        "vocab_size": 700,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 2, 2],
        },
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 24,
        "fullatt_block_indexes": [0],
    }
    ids = {name: 690 + i for i, name in enumerate(("image_token_id", "video_token_id"))}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    )


def tiny_vae() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.5, 0.8, 1.0, 2.0],
    )


def tiny_controlnet(**changes: Any) -> QwenImageControlNetModel:
    return QwenImageControlNetModel(**{**SHARED, "num_layers": 2, **changes})


def tiny_pipeline() -> Any:
    """A pipeline no weight of which is all zero."""
    torch.manual_seed(0)
    tokenizer = build_qwen_tokenizer(TEMPLATE_WORDS)
    tokenizer.model_max_length = 4096
    pipeline = QwenImageControlNetPipeline(
        transformer=QwenImageTransformer2DModel(**SHARED, num_layers=3),
        controlnet=tiny_controlnet(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=tiny_vae(),
        text_encoder=tiny_qwen_vl(),
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
    )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            awaken(part).eval()
    for block in pipeline.transformer.transformer_blocks:
        block.attn.add_v_proj.weight.data *= 40  # so that its texts count beside its depth
    return pipeline


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline's folder."""
    path = tmp_path_factory.mktemp("model") / "qwen-image"
    tiny_pipeline().save_pretrained(path)
    return path


@pytest.fixture
def make_renderer(folder: Path) -> Callable[..., QwenImageRenderer]:
    def make(**options: Any) -> QwenImageRenderer:
        return QwenImageRenderer(QwenImageOptions(**{"model": str(folder), **SMALL, **options}))

    return make


@pytest.fixture(scope="session")
def stock(folder: Path) -> Callable[..., Any]:
    """What the stock pipeline makes of a request, without anything of ours."""
    pipelines: list[Any] = []

    def render(request: RenderRequest, **arguments: Any) -> Any:
        if not pipelines:
            pipelines.append(QwenImageControlNetPipeline.from_pretrained(folder))
            pipelines[0].set_progress_bar_config(disable=True)
        fixed = {
            "prompt": [request.layout.prompt],
            "negative_prompt": [request.layout.negative_prompt],
            "num_inference_steps": STEPS,
            "true_cfg_scale": GUIDANCE,
        }
        return pipelines[0](
            control_image=request.depth.resize(request.width, request.height).to_image(),
            width=request.width,
            height=request.height,
            generator=torch.Generator().manual_seed(request.seed),
            **{**fixed, **arguments},
        ).images

    return render


@pytest.fixture(scope="session")
def stock_picture(stock: Callable[..., Any]) -> Callable[..., Image.Image]:
    return lambda *args, **kwargs: stock(*args, **kwargs)[0]
