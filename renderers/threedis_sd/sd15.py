"""The ``sd15`` renderer: Stable Diffusion 1.5 with a depth ControlNet."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from threedis_sd.backend import UNetRenderer
from threedis_sd.options import MODEL, UNetOptions


class SD15Options(UNetOptions):
    """Options of ``sd15``."""

    model: str = Field(
        default="stable-diffusion-v1-5/stable-diffusion-v1-5", min_length=1, description=MODEL
    )


class SD15Renderer(UNetRenderer):
    """Render depth maps with Stable Diffusion 1.5 or any model of its classes."""

    Options = SD15Options
    name: ClassVar[str] = "sd15"
    default_controlnet: ClassVar[str] = "lllyasviel/control_v11f1p_sd15_depth"
    default_side: ClassVar[int] = 512
