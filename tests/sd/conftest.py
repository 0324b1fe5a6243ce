"""Tiny real pipelines on disk, made from the golden numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_core.depth import DepthMap
from threedis_core.interfaces import RenderRequest
from threedis_core.layout import Layout
from threedis_core.regions import Regions
from threedis_core.testing.samples import sample_depth

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def golden_cases() -> dict[str, Any]:
    return json.loads((GOLDEN / "cases.json").read_text("utf-8"))["cases"]


@pytest.fixture(scope="session")
def golden_tensors() -> Callable[[str], dict[str, torch.Tensor]]:
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture(scope="session")
def golden_unet() -> UNet2DConditionModel:
    """The U-Net of the ``unet_forward`` cases, float32."""
    unet = UNet2DConditionModel(**json.loads((GOLDEN / "unet.json").read_text("utf-8"))).eval()
    weights = load_file(GOLDEN / "unet.safetensors")
    unet.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return unet


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden parts as one pipeline folder, ControlNet inside."""
    parts = GOLDEN / "sd15_pipe"
    pipeline = StableDiffusionControlNetPipeline(
        vae=AutoencoderKL.from_pretrained(parts / "vae", dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=torch.float32),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(parts / "unet", dtype=torch.float32),
        controlnet=ControlNetModel.from_pretrained(parts / "controlnet", dtype=torch.float32),
        scheduler=EulerDiscreteScheduler.from_pretrained(parts / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny-sd15"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stock_picture(pipeline_folder: Path) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours."""
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(pipeline_folder)
    pipeline.set_progress_bar_config(disable=True)

    def render(request: RenderRequest, **arguments: Any) -> Image.Image:
        return pipeline(
            request.layout.prompt,
            image=request.depth.to_image(),
            negative_prompt=request.layout.negative_prompt,
            generator=torch.Generator().manual_seed(request.seed),
            **arguments,
        ).images[0]

    return render


@pytest.fixture(scope="session")
def make_request() -> Callable[..., RenderRequest]:
    """A request from (prompt, box) pairs."""

    def make(
        *instances: tuple[str, tuple[float, float, float, float]],
        prompt: str = "animals in a field",
        negative_prompt: str = "blurry",
        size: tuple[int, int] = (128, 128),
        seed: int = 0,
        **changes: Any,
    ) -> RenderRequest:
        width, height = size
        layout = Layout.from_dict(
            {
                "version": 1,
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "instances": [{"prompt": text, "box": list(box)} for text, box in instances],
            }
        )
        depth: DepthMap = sample_depth(layout, width, height)
        regions = Regions.from_layout(layout, width, height)
        return RenderRequest(layout, depth, regions, seed, width, height, **changes)

    return make
