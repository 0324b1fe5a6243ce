"""z-image passes the suite that every renderer must pass, with every kind of ControlNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_z_image.backend import ZImageOptions, ZImageRenderer


class ZImageConformance(DiffusersConformance):
    """The suite on a tiny model."""

    plugin_module = "threedis_z_image"
    text_input = ""
    kind: ClassVar[str]
    guidance: ClassVar[float] = 0.0

    @pytest.fixture(autouse=True)
    def _model(
        self,
        folder_of: Callable[[str], Path],
        make_renderer: Callable[..., ZImageRenderer],
        stock_picture: Callable[..., Image.Image],
    ) -> None:
        self.folder, self.make, self.stock = folder_of(self.kind), make_renderer, stock_picture

    def make_backend(self, **options: Any) -> ZImageRenderer:
        return self.make(self.kind, **{"steps": 2, "guidance": self.guidance, **options})

    def make_backend_without_weights(self) -> ZImageRenderer:
        return ZImageRenderer(ZImageOptions(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        steps, guidance = 2, self.guidance
        return self.stock(request, self.kind, num_inference_steps=steps, guidance_scale=guidance)

    def negative_rows(self, call: int, rows: int, pictures: int) -> Sequence[int]:
        """Those behind the pictures'."""
        return range(pictures, rows)


class TestVersion1(ZImageConformance):
    """With the ControlNet that refines by itself."""

    kind = "1"


class TestVersion20(ZImageConformance):
    """With the one whose control layers see the image alone, then all tokens."""

    kind = "2.0"


class TestVersion21(ZImageConformance):
    """With the one that has layers beside the refiner, and with guidance."""

    kind = "2.1"
    guidance = 2.0
