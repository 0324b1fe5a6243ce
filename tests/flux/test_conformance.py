"""flux passes the suite that every renderer must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

FIXED: dict[str, Any] = {"steps": 2, "tokens_per_prompt": 12, "default_side": 64}


class TestFlux(DiffusersConformance):
    """The suite on the tiny golden model."""

    plugin_module = "threedis_flux"

    @pytest.fixture(autouse=True)
    def _model(self, pipeline_folder: Path, stock_picture: Callable[..., Image.Image]) -> None:
        self.folder, self.stock = pipeline_folder, stock_picture

    def make_backend(self, **options: Any) -> FluxRenderer:
        return FluxRenderer(FluxOptions(**{"model": str(self.folder), **FIXED, **options}))

    def make_backend_without_weights(self) -> FluxRenderer:
        return FluxRenderer(FluxOptions(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        return self.stock(request, num_inference_steps=2)
