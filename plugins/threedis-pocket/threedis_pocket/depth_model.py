"""The depth model ``pocket-depth``: the learned first stage, small, for pocket layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registrations import TrainedOn
from threedis_core.values.depth import DepthMap
from threedis_diffusers.options import GUIDANCE, SCHEDULER, Dtype
from threedis_ldm3d.depth_model import LDM3D
from threedis_ldm3d.options import (
    ADAPTER_STEPS,
    FUSER_STEPS,
    REPEAT_PROMPT,
    STRETCH,
    LDM3DOptions,
)
from threedis_pocket import TRAINED_ON
from threedis_pocket.depth_texts import depth_layout

TRIES = 4
"""How many maps a run makes, to use the best; see ``threedis bench presence``."""
MODEL = str(Path(__file__).parent / "weights" / "pocket-depth")


class PocketDepthOptions(LDM3DOptions):
    """The options of ``ldm3d``, with the defaults that the pocket's weights were trained for."""

    model: str = Field(
        default=MODEL, min_length=1, description="Local folder of the pocket's depth model."
    )
    unet: str | None = Field(
        default=None,
        min_length=1,
        description="Other weights for the U-Net: a file, or a local folder with unet_0901; null: "
        "the model's own.",
    )
    adapter: str | None = Field(
        default=MODEL,
        min_length=1,
        description="Layout adapter: a file, or a local folder with layout_adapter; null: none.",
    )
    scheduler: str | None = Field(default=None, description=SCHEDULER)
    steps: int = Field(default=20, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=2.0, ge=0, allow_inf_nan=False, description=GUIDANCE)
    adapter_steps: int | None = Field(default=None, ge=0, description=ADAPTER_STEPS)
    fuser_steps: int | None = Field(default=None, ge=0, description=FUSER_STEPS)
    repeat_prompt: bool = Field(default=False, description=REPEAT_PROMPT)
    stretch: bool = Field(default=False, description=STRETCH)
    dtype: Dtype = Field(
        default="float32",
        description="Number format to compute in; auto is float16 on an accelerator.",
    )


class PocketDepth(LDM3D):
    """``ldm3d`` with the pocket's weights, for layouts of spheres, cubes, cylinders and cones.

    It is told bare shapes in the words it was trained on, whatever a person wrote: see
    ``depth_layout``.
    """

    Options: ClassVar[type[LDM3DOptions]] = PocketDepthOptions
    name: ClassVar[str] = "pocket-depth"
    usual_tries: ClassVar[int] = TRIES
    trained_on: ClassVar[TrainedOn] = replace(TRAINED_ON, sides=None)  # it works at its own size

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Make one depth map per request; the same seed gives the same map.

        Raises:
            LayoutError: A label names no pocket shape, or there are more than 29 instances.
            OptionError: A seed that is out of range, or an option this machine cannot serve.
            RenderError: This backend is at work already.
        """
        for request in requests:
            self.check(request)
        told = [replace(one, layout=depth_layout(one.layout)) for one in requests]
        return super().generate(told, progress)

    def check(self, request: DepthRequest) -> None:
        """See that every instance is one shape of the pocket world, and that there is room.

        Raises:
            LayoutError: A label or a prompt names no pocket shape, several, or each another one;
                or there are more than 29 instances.
            OptionError: A seed that is out of range.
        """
        depth_layout(request.layout)
        super().check(request)
