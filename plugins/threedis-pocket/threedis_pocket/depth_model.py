"""The depth model ``pocket-depth``: the learned first stage, small, for pocket layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_diffusers.options import Dtype
from threedis_ldm3d.depth_model import LDM3D
from threedis_ldm3d.options import LDM3DOptions
from threedis_pocket.layouts import shape_index

MODEL = str(Path(__file__).parent / "weights" / "pocket-depth")


class PocketDepthOptions(LDM3DOptions):
    """The options of ``ldm3d``, with the defaults that the pocket's weights were trained for."""

    model: str = Field(MODEL, min_length=1)
    unet: str | None = Field(None, min_length=1)
    adapter: str | None = Field(MODEL, min_length=1)
    scheduler: str | None = None
    steps: int = Field(20, ge=1, le=1000)
    guidance: float = Field(2.0, ge=0, allow_inf_nan=False)
    adapter_steps: int | None = Field(16, ge=0)
    fuser_steps: int | None = Field(None, ge=0)
    repeat_prompt: bool = False
    stretch: bool = False
    dtype: Dtype = "float32"


class PocketDepth(LDM3D):
    """``ldm3d`` with the pocket's weights, for layouts of spheres, cubes, cylinders and cones."""

    Options: ClassVar[type[LDM3DOptions]] = PocketDepthOptions
    name: ClassVar[str] = "pocket-depth"

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Make one depth map per request; the same seed gives the same map.

        Raises:
            LayoutError: A label names no pocket shape, or there are more than 29.
            OptionError: A seed that is out of range, or an option this machine cannot serve.
            RenderError: This backend is at work already.
        """
        for request in requests:
            for number in range(len(request.layout.instances)):
                shape_index(request.layout, number)
        return super().generate(requests, progress)
