"""qwen-image passes the suite that every renderer must pass, with guidance and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.testing import DiffusersConformance
from threedis_qwen_image.backend import QwenImageOptions, QwenImageRenderer


class TestQwenImage(DiffusersConformance):
    """The suite on a tiny model, whose guidance is a call of its own."""

    plugin_module = "threedis_qwen_image"
    guidance: ClassVar[float] = 3.0

    @pytest.fixture(autouse=True)
    def _model(
        self,
        make_renderer: Callable[..., QwenImageRenderer],
        stock_picture: Callable[..., Image.Image],
    ) -> None:
        self.make, self.stock = make_renderer, stock_picture

    def make_backend(self, **options: Any) -> QwenImageRenderer:
        return self.make(**{"steps": 2, "guidance": self.guidance, **options})

    def make_backend_without_weights(self) -> QwenImageRenderer:
        return QwenImageRenderer(QwenImageOptions(model="/no/such/model"))

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        return self.stock(request, num_inference_steps=2, true_cfg_scale=self.guidance)

    def negative_rows(self, call: int, rows: int, pictures: int) -> Sequence[int]:
        """All of the second call."""
        return range(rows if call else 0)


class TestWithoutGuidance(TestQwenImage):
    """One call a step."""

    guidance = 1.0
