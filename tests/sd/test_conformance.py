"""Every family passes the suite that every renderer must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

STEPS = 2


class UNetConformance(DiffusersConformance):
    """The suite on a family's tiny model."""

    plugin_module = "threedis_sd"
    renderer: ClassVar[type[UNetRenderer]]
    family: ClassVar[str]
    scale: ClassVar[float] = 10.0
    """So much that a small ControlNet of random weights is seen, and texts still are."""

    @pytest.fixture(autouse=True)
    def _model(
        self,
        family_folder: Callable[[str], Path],
        family_stock_picture: Callable[..., Image.Image],
    ) -> None:
        self.folder, self.stock = family_folder(self.family), family_stock_picture

    def make_backend(self, **options: Any) -> UNetRenderer:
        fixed: dict[str, Any] = {
            "steps": STEPS,
            "controlnet_prompt": None,
            "controlnet_negative_prompt": None,
            "controlnet_scale": self.scale,
            "model": str(self.folder),
        }
        return self.renderer(self.renderer.Options(**{**fixed, **options}))

    def make_backend_without_weights(self) -> UNetRenderer:
        return self.renderer(self.renderer.Options(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        fixed = {"num_inference_steps": STEPS, "controlnet_conditioning_scale": self.scale}
        return self.stock(self.family, request, guidance_scale=7.5, **fixed)


class TestSD15(UNetConformance):
    renderer, family = SD15Renderer, "sd15"


class TestSD21(UNetConformance):
    renderer, family = SD21Renderer, "sd21"


class TestSDXL(UNetConformance):
    renderer, family, scale = SDXLRenderer, "sdxl", 1.0
