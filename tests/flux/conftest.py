"""Tiny real FLUX pipelines on disk, made from the golden numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxTransformer2DModel,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, T5EncoderModel

from threedis_core.plugin.interfaces import RenderRequest
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 3


@pytest.fixture(scope="session")
def golden_transformer() -> FluxTransformer2DModel:
    """The transformer of the ``flux_forward`` cases, float32."""
    config = json.loads((GOLDEN / "flux_transformer.json").read_text("utf-8"))
    transformer = FluxTransformer2DModel(**config).eval()
    weights = load_file(GOLDEN / "flux_transformer.safetensors")
    transformer.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return transformer


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden parts as one pipeline folder."""
    parts = GOLDEN / "flux_pipe"
    pipeline = FluxControlPipeline(
        vae=AutoencoderKL.from_pretrained(parts / "vae", dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=torch.float32),
        text_encoder_2=T5EncoderModel.from_pretrained(
            parts / "text_encoder_2", dtype=torch.float32
        ),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        tokenizer_2=AutoTokenizer.from_pretrained(parts / "tokenizer_2"),
        transformer=FluxTransformer2DModel.from_pretrained(
            parts / "transformer", dtype=torch.float32
        ),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(parts / "scheduler"),
    )
    folder = tmp_path_factory.mktemp("model") / "tiny-flux"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def renderer(pipeline_folder: Path) -> FluxRenderer:
    """A loaded renderer with short texts, which are fast."""
    renderer = FluxRenderer(FluxOptions(model=str(pipeline_folder), **SMALL))
    renderer.load()
    return renderer


SMALL: dict[str, Any] = {"steps": STEPS, "tokens_per_prompt": 12, "default_side": 64}


@pytest.fixture
def make_renderer(pipeline_folder: Path, renderer: FluxRenderer) -> Callable[..., FluxRenderer]:
    """A renderer with other options on the model that is loaded already."""

    def make(**options: Any) -> FluxRenderer:
        other = FluxRenderer(FluxOptions(model=str(pipeline_folder), **{**SMALL, **options}))
        other._loaded = renderer.load()
        return other

    return make


@pytest.fixture(scope="session")
def stock_picture(pipeline_folder: Path) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours."""
    pipeline = FluxControlPipeline.from_pretrained(pipeline_folder)
    pipeline.set_progress_bar_config(disable=True)

    def render(request: RenderRequest, **arguments: Any) -> Image.Image:
        fixed = {"num_inference_steps": STEPS, "guidance_scale": 10.0, "max_sequence_length": 12}
        return pipeline(
            request.layout.prompt,
            control_image=request.depth.to_image(),
            width=request.width,
            height=request.height,
            generator=torch.Generator().manual_seed(request.seed),
            **{**fixed, **arguments},
        ).images[0]

    return render
