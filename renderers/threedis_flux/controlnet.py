"""The ``flux-controlnet`` renderer: FLUX.1 with a depth ControlNet and the joint-attention hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from threedis_core.attention import JointPhases, TokenOrder
from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import Capabilities
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_diffusers.joint.options import ControlNetOptions
from threedis_diffusers.model_files.facts import read_if_local
from threedis_diffusers.model_files.sources import ModelSource
from threedis_flux.backend import T5, FluxBase
from threedis_flux.hook import FluxHook
from threedis_flux.options import BASE_MODEL, FluxBaseOptions

GGUF = "city96/FLUX.1-dev-gguf/flux1-dev"
"""How the names of the published files begin whose weights are packed as GGUF."""


class FluxControlNetOptions(ControlNetOptions, FluxBaseOptions):
    """Options of FLUX.1 with a depth ControlNet."""

    of_the_work = ControlNetOptions.work_and("control_mode")

    parts: ClassVar[tuple[str, ...]] = (*FluxBaseOptions.parts, "controlnet")

    model: str = Field(
        default=BASE_MODEL,
        min_length=1,
        description="Local folder or hub id in diffusers format of a FLUX.1: dev, or schnell with "
        "steps=4.",
    )
    steps: int = Field(default=28, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(
        default=3.5,
        ge=0,
        allow_inf_nan=False,
        description="FLUX.1-dev's embedded guidance scale, 0 or more: how closely the prompts are "
        "followed. It costs no time, and there is no negative prompt; schnell has none.",
    )
    controlnet_scale: float = Field(
        default=0.7,
        ge=0,
        allow_inf_nan=False,
        description="How much the depth map counts, 0 or more: 1 as trained, 0 not at all; 0.3 to "
        "0.8 with the published ControlNets.",
    )
    control_mode: int | None = Field(
        default=None,
        ge=0,
        description="Which control a union ControlNet is given: 2 is depth in those that are "
        "published; null: the ControlNet has one alone, or no modes.",
    )


class FluxControlNetRenderer(FluxBase, JointControlNetRenderer):
    """Render depth maps with FLUX.1 and a depth ControlNet, which sees the global prompt alone."""

    Options = FluxControlNetOptions
    options: FluxControlNetOptions
    name: ClassVar[str] = "flux-controlnet"
    pipeline_class = "FluxControlNetPipeline"
    model_classes = ("FluxPipeline", "FluxControlNetPipeline")
    controlnet_class = "FluxControlNetModel"
    default_controlnet = "Shakker-Labs/FLUX.1-dev-ControlNet-Depth"
    controlnet_fits = (
        *("in_channels", "joint_attention_dim", "pooled_projection_dim"),
        *("num_attention_heads", "attention_head_dim"),
    )
    smaller: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"quantization": "fp8"},
        *(
            {"transformer": f"{GGUF}-{size}.gguf", "text_encoder_2": f"{T5}-{of_text}.gguf"}
            for size, of_text in (("Q8_0", "Q8_0"), ("Q5_K_S", "Q5_K_M"), ("Q4_K_S", "Q5_K_M"))
        ),
    )

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this backend can do: models that are distilled to few steps have no guidance."""
        config = read_if_local(ModelSource(self.options.model), "transformer/config.json")
        found = super().capabilities
        guided = config.get("guidance_embeds", True)
        return found if guided else replace(found, guidance=False, default_guidance=None)

    def arguments(self, pipeline: Any, batch: Batch) -> dict[str, Any]:
        """How much the depth counts, and as what."""
        given = super().arguments(pipeline, batch)
        return {**given, "control_mode": self.options.control_mode}

    def controlnet_order(self, pipeline: Any) -> TokenOrder:
        """A mode is a token in front."""
        return TokenOrder(prefix=int(pipeline.controlnet.union))

    def controlnet_hook(self, controlnet: Any, phases: JointPhases) -> FluxHook:
        """FLUX's own."""
        return FluxHook(controlnet, phases)

    def check_controlnet(self, config: dict[str, Any], name: str) -> None:
        """See that a mode is named where there are some, and not where there are none.

        Raises:
            OptionError: It is otherwise, or there is no such mode.
            WeightsError: It is another kind of ControlNet.
        """
        super().check_controlnet(config, name)
        modes, mode = config.get("num_mode"), self.options.control_mode
        if (modes is None) != (mode is None) or (modes and mode is not None and mode >= modes):
            has = "no modes" if modes is None else f"the modes 0 to {modes - 1}"
            todo = "leave control_mode out" if modes is None else "set control_mode: 2 is depth"
            raise OptionError(
                f"control_mode is {mode}, but ControlNet '{name}' has {has}; {todo}",
                path="control_mode",
                hint=todo,
            )
