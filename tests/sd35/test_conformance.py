"""sd35 passes the suite that every renderer must pass, with both kinds of ControlNets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_sd35.backend import SD35Options, SD35Renderer

FIXED: dict[str, Any] = {
    "steps": 2,
    "guidance": 4.0,
    "tokens_per_prompt": 24,
    "default_side": 64,
    "controlnet_scale": 0.5,
}


class SD35Conformance(DiffusersConformance):
    """The suite on a tiny model."""

    plugin_module = "threedis_sd35"
    kind: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _model(
        self, folder_of: Callable[[str], Path], stock_picture: Callable[..., Image.Image]
    ) -> None:
        self.folder, self.stock = folder_of(self.kind), stock_picture

    def make_backend(self, **options: Any) -> SD35Renderer:
        return SD35Renderer(SD35Options(**{"model": str(self.folder), **FIXED, **options}))

    def make_backend_without_weights(self) -> SD35Renderer:
        return SD35Renderer(SD35Options(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        return self.stock(request, self.kind, num_inference_steps=2)


class TestLarge(SD35Conformance):
    kind = "large"


class TestMedium(SD35Conformance):
    kind = "medium"
