"""flux-controlnet passes the suite that every renderer must pass, and hides texts exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_flux.controlnet import FluxControlNetOptions, FluxControlNetRenderer


class FluxControlNetConformance(DiffusersConformance):
    """The suite on a tiny model."""

    plugin_module = "threedis_flux"
    kind: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _model(
        self,
        folder_of: Callable[[str], Path],
        make_renderer: Callable[..., FluxControlNetRenderer],
        stock_picture: Callable[..., Image.Image],
    ) -> None:
        self.folder, self.make, self.stock = folder_of(self.kind), make_renderer, stock_picture

    def make_backend(self, **options: Any) -> FluxControlNetRenderer:
        return self.make(self.kind, **{"steps": 2, **options})

    def make_backend_without_weights(self) -> FluxControlNetRenderer:
        return FluxControlNetRenderer(FluxControlNetOptions(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        return self.stock(request, self.kind, num_inference_steps=2)


class TestPlain(FluxControlNetConformance):
    """With a ControlNet of one control."""

    kind = "plain"


class TestUnion(FluxControlNetConformance):
    """With one of several controls, which has a token for the mode."""

    kind = "union"
