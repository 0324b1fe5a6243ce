"""The options every Stable Diffusion renderer takes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from threedis_core.plugin.options import OptionsModel
from threedis_diffusers.model_files.sources import is_single_file
from threedis_diffusers.options import (
    KERNEL,
    SCHEDULER,
    AttentionKernel,
    LoRA,
    RegionalOptions,
    lora_from_path,
)
from threedis_diffusers.parts.options import PART, PartOptions
from threedis_diffusers.schedulers import Scheduler, resolve_scheduler
from threedis_diffusers.unet.prompts import NEUTRAL_NEGATIVE_PROMPT, NEUTRAL_PROMPT

MODEL = (
    "The model: a local folder in diffusers format, a hub id, or a single .safetensors file in the "
    "original format."
)


class LowPass(OptionsModel):
    """The low-pass filter on ControlNet residuals outside every region."""

    scale: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Factor for the high frequencies, 0 to 1: 0 removes them, 1 keeps all.",
    )
    divisor: int = Field(
        default=8,
        ge=1,
        description="Frequencies up to 1/divisor of the grid's size are kept as they are, on each "
        "side; 1 or more, and 2 or less keeps all.",
    )


class MoreControlNet(OptionsModel):
    """A ControlNet beside the depth ControlNet, with a control picture of its own."""

    model: str = Field(
        min_length=1,
        description="The ControlNet, of one kind of control: a local folder, a hub id with a "
        "folder or file inside after it, or a .safetensors file.",
    )
    image: str = Field(
        min_length=1,
        description="Its control picture (edges, a pose, ...), a file, made as the ControlNet "
        "wants it; it is stretched to the picture's size.",
    )
    scale: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="How much it counts, 0 or more: 1 as trained, 0 not at all.",
    )
    start: float = Field(
        default=0.0, ge=0, le=1, description="From which share of the steps on it counts."
    )
    end: float = Field(
        default=1.0, ge=0, le=1, description="Up to which share of the steps; more than start."
    )

    @model_validator(mode="after")
    def _range(self) -> MoreControlNet:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must lie before end {self.end}")
        return self


class UNetOptions(PartOptions, RegionalOptions):
    """Options of a U-Net with a depth ControlNet."""

    of_the_work = PartOptions.work_and(
        "nouns_in_prompt",
        *("controlnet_scale", "controlnet_start", "controlnet_end", "control_steps", "alpha"),
        *("background_weight", "repeat_prompt", "control_cn", "controlnet_prompt"),
        *(
            "controlnet_negative_prompt",
            "low_pass",
            "default_negative_prompt",
            "prompt_syntax",
            "clip_skip",
        ),
        "more_controlnets",  # their pictures and scales; the models stand in load_key
    )

    parts: ClassVar[tuple[str, ...]] = ("unet", "controlnet", "vae", "text_encoder")
    large: ClassVar[tuple[str, ...]] = ("unet", "controlnet")

    config: str | None = Field(
        default=None,
        min_length=1,
        description="Only where model is one file: the local folder or hub id in diffusers format "
        "that describes it, of which no weights are read; null: the renderer's default model.",
    )
    unet: str | None = Field(
        default=None, min_length=1, description=f"A UNet2DConditionModel {PART}"
    )
    vae: str | None = Field(default=None, min_length=1, description=f"An AutoencoderKL {PART}")
    text_encoder: str | None = Field(
        default=None, min_length=1, description=f"A CLIPTextModel {PART}"
    )
    controlnet: str | None = Field(
        default=None,
        min_length=1,
        description="The depth ControlNet: a local folder, a hub id with a folder or file inside "
        "after it, or a .safetensors file; null: the folder controlnet in the model's folder if "
        "there is one, else the published one.",
    )
    scheduler: Scheduler = Field(default="EulerDiscreteScheduler", description=SCHEDULER)
    controlnet_scale: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="How much the depth map counts, 0 or more: 1 as trained, 0 not at all.",
    )
    controlnet_start: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="From which share of the steps on the depth map counts, 0 (the first step) "
        "to 1.",
    )
    controlnet_end: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Up to which share of the steps the depth map counts, 0 to 1 (the last step); "
        "more than controlnet_start.",
    )
    more_controlnets: tuple[MoreControlNet, ...] = Field(
        default=(),
        description="ControlNets beside the depth one, which read the picture's own prompts: "
        "[{model: a folder or hub id, image: a picture file, scale: 1.0, start: 0, end: 1}].",
    )
    control_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps, from the first, each region follows its own prompt; then "
        "the plain model goes on. 0: never; null: all steps.",
    )
    alpha: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="How strongly a region binds its instance's prompt, 0 or more; published: 10.",
    )
    background_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least weight of the global prompt outside all regions, 0 to 1; null: as "
        "published.",
    )
    repeat_prompt: bool = Field(
        default=True,
        description="Send each instance's prompt once per instance, at most 7 times, joined by "
        '", and ", as published; false: once.',
    )
    control_cn: bool = Field(
        default=False,
        description="Let the ControlNet read the instances' prompts through the same hook, instead "
        "of prompts of its own.",
    )
    controlnet_prompt: str | None = Field(
        default=NEUTRAL_PROMPT,
        description="What the ControlNet reads instead of the picture's prompt; null: the "
        "picture's prompt. Not used with control_cn.",
    )
    controlnet_negative_prompt: str | None = Field(
        default=NEUTRAL_NEGATIVE_PROMPT,
        description="What the ControlNet reads instead of the negative prompt; null: the "
        "picture's. Not used with control_cn.",
    )
    low_pass: LowPass | None = Field(
        default=None,
        description="Damp the fine detail that the ControlNet adds outside every region, since a "
        "generated depth map has none worth keeping: true, or numbers of your own; null or false: "
        "off.",
    )
    prompt_syntax: Literal["plain", "compel"] = Field(
        default="plain",
        description="How prompts are read: plain, as they are written and cut at the model's "
        "window with a warning; compel, with weights such as (red)1.3 or blurry--, and as long as "
        "they are. It needs the package compel.",
    )
    clip_skip: int | None = Field(
        default=None,
        ge=1,
        description="How many of the text encoder's last layers are left out; null: as the model "
        "was trained. Not with prompt_syntax=compel.",
    )
    embeddings: dict[str, LoRA] = Field(
        default={},
        description="Textual inversion: words that stand for learned embeddings, each with its "
        "path or hub id, or path and file (.safetensors).",
    )
    default_negative_prompt: str = Field(
        default="",
        description="The negative prompt of layouts that have none.",
    )
    attention_backend: AttentionKernel = Field(default="native", description=KERNEL)

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: Scheduler) -> Scheduler:
        return resolve_scheduler(value)

    @field_validator("low_pass", mode="before")
    @classmethod
    def _low_pass_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return LowPass() if value else None
        return value

    @model_validator(mode="before")
    @classmethod
    def _null_prompt_means_the_pictures_own(cls, data: Any) -> Any:
        """Without a prompt of its own the ControlNet has no negative one of its own either."""
        own, negative = "controlnet_prompt", "controlnet_negative_prompt"
        if isinstance(data, dict) and own in data and data[own] is None:
            return {negative: None, **data}
        return data

    @model_validator(mode="after")
    def _config_of_one_file(self) -> UNetOptions:
        if self.config is not None and not is_single_file(self.model):
            raise ValueError(
                f"config describes a model that is one file, but model is '{self.model}'; name a "
                ".safetensors file there, or leave config out"
            )
        return self

    @field_validator("embeddings", mode="before")
    @classmethod
    def _embedding_paths_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {word: lora_from_path(one) for word, one in value.items()}

    @model_validator(mode="after")
    def _one_way_to_read(self) -> UNetOptions:
        if self.clip_skip is not None and self.prompt_syntax == "compel":
            raise ValueError(
                "clip_skip and prompt_syntax=compel do not go together: compel reads the layer "
                "that the model was trained with; leave one of them out"
            )
        for word, one in self.embeddings.items():
            if one.weight != 1:
                raise ValueError(f"embeddings.{word} has a weight, which an embedding has not")
        return self

    @model_validator(mode="after")
    def _controlnet_range(self) -> UNetOptions:
        if self.controlnet_start >= self.controlnet_end:
            raise ValueError(
                f"controlnet_start {self.controlnet_start} must lie before "
                f"controlnet_end {self.controlnet_end}"
            )
        return self
