"""sd15 passes the suite that every renderer must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from threedis_core.interfaces import RenderRequest
from threedis_core.testing import RendererConformance
from threedis_sd.sd15 import SD15Options, SD15Renderer

STEPS = 2


class TestSD15(RendererConformance):
    """The suite on the tiny golden model."""

    plugin_module = "threedis_sd"

    @pytest.fixture(autouse=True)
    def _model(self, pipeline_folder: Path, stock_picture: Callable[..., Image.Image]) -> None:
        self.folder, self.stock = pipeline_folder, stock_picture

    def make_backend(self, **options: Any) -> SD15Renderer:
        fixed = {"steps": STEPS, "controlnet_prompt": None, "controlnet_negative_prompt": None}
        return SD15Renderer(SD15Options(model=str(self.folder), **{**fixed, **options}))

    def make_backend_without_weights(self) -> SD15Renderer:
        return SD15Renderer(SD15Options(model="/no/such/model"))

    def attention_processors(self, backend: Any) -> object:
        pipeline = backend.load().pipeline
        models = (pipeline.unet, pipeline.controlnet)
        return [list(map(id, model.attn_processors.values())) for model in models]

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        return self.stock(request, num_inference_steps=STEPS, guidance_scale=7.5)
