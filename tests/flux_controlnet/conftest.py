"""Tiny real pipelines of FLUX.1 with a ControlNet on disk: of one control, and of several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from PIL import Image
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, T5EncoderModel

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.samples import sample_depth
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_diffusers.testing import awaken
from threedis_flux.controlnet import FluxControlNetOptions, FluxControlNetRenderer

torch.set_num_threads(1)

PARTS = Path(__file__).parents[1] / "golden" / "flux_pipe"
SIZES: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 8,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 6, 6),
}
MODES = {"plain": None, "union": 4}
MODE = 2
SMALL: dict[str, Any] = {"steps": 3, "tokens_per_prompt": 12, "default_side": 64}


def tiny_controlnet(kind: str, **changes: Any) -> FluxControlNetModel:
    torch.manual_seed(1)
    sizes = {**SIZES, "num_layers": 1, "num_single_layers": 1, "num_mode": MODES[kind]}
    controlnet = FluxControlNetModel(**{**sizes, **changes})
    awaken(controlnet).eval()
    return controlnet


def loud(model: torch.nn.Module) -> torch.nn.Module:
    """Larger weights than new ones, so that what is read is seen in the picture."""
    with torch.no_grad():
        for weight in awaken(model).parameters():
            weight.mul_(2 if weight.ndim > 1 else 1)
    return model


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a base model with a ControlNet of a kind in it."""
    folders: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind) / f"tiny-{kind}"
            torch.manual_seed(0)
            transformer = FluxTransformer2DModel(**SIZES, num_layers=2, num_single_layers=2)
            pipeline = FluxPipeline(
                vae=AutoencoderKL.from_pretrained(PARTS / "vae"),
                text_encoder=CLIPTextModel.from_pretrained(PARTS / "text_encoder"),
                text_encoder_2=T5EncoderModel.from_pretrained(PARTS / "text_encoder_2"),
                tokenizer=CLIPTokenizer.from_pretrained(PARTS / "tokenizer"),
                tokenizer_2=AutoTokenizer.from_pretrained(PARTS / "tokenizer_2"),
                transformer=loud(transformer),
                scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(PARTS / "scheduler"),
            ).to(dtype=torch.float32)
            pipeline.save_pretrained(folders[kind])
            tiny_controlnet(kind).save_pretrained(folders[kind] / "controlnet")
        return folders[kind]

    return make


@pytest.fixture
def make_renderer(folder_of: Callable[[str], Path]) -> Callable[..., FluxControlNetRenderer]:
    def make(kind: str = "plain", **options: Any) -> FluxControlNetRenderer:
        given = {"model": str(folder_of(kind)), "controlnet_scale": 1.0, **SMALL}
        if kind == "union":
            given["control_mode"] = MODE
        return FluxControlNetRenderer(FluxControlNetOptions(**{**given, **options}))

    return make


@pytest.fixture(scope="session")
def stock_picture(folder_of: Callable[[str], Path]) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours."""
    pipelines: dict[str, Any] = {}

    def render(request: RenderRequest, kind: str, **arguments: Any) -> Image.Image:
        if kind not in pipelines:
            own = FluxControlNetModel.from_pretrained(folder_of(kind) / "controlnet")
            pipelines[kind] = FluxControlNetPipeline.from_pretrained(
                folder_of(kind), controlnet=own
            )
            pipelines[kind].set_progress_bar_config(disable=True)
        fixed = {
            "num_inference_steps": 3,
            "guidance_scale": 3.5,
            "max_sequence_length": 12,
            "controlnet_conditioning_scale": 1.0,
            "control_mode": MODE if kind == "union" else None,
        }
        return pipelines[kind](
            request.layout.prompt,
            control_image=request.depth.to_image(),
            width=request.width,
            height=request.height,
            generator=torch.Generator().manual_seed(request.seed),
            **{**fixed, **arguments},
        ).images[0]

    return render


@pytest.fixture(scope="session")
def make_request() -> Callable[..., RenderRequest]:
    """A request from (prompt, box) pairs."""

    def make(
        *instances: tuple[str, tuple[float, float, float, float]],
        prompt: str = "animals in a field",
        size: tuple[int, int] = (64, 64),
        seed: int = 0,
        **changes: Any,
    ) -> RenderRequest:
        width, height = size
        entries = [{"prompt": text, "box": list(box)} for text, box in instances]
        layout = Layout.from_dict({"version": 1, "prompt": prompt, "instances": entries})
        depth = sample_depth(layout, width, height)
        regions = Regions.from_layout(layout, width, height)
        return RenderRequest(layout, depth, regions, seed, width, height, **changes)

    return make
