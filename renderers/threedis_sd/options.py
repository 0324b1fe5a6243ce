"""The options every Stable Diffusion renderer takes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from threedis_diffusers.model_files.sources import is_single_file
from threedis_diffusers.options import AttentionKernel, DiffusersOptions
from threedis_diffusers.unet.prompts import NEUTRAL_NEGATIVE_PROMPT, NEUTRAL_PROMPT
from threedis_diffusers.unet.schedulers import resolve_scheduler


class LowPass(BaseModel):
    """The low-pass filter on ControlNet residuals outside every region.

    Args:
        scale: Factor for the high frequencies, in [0, 1].
        divisor: The share of the spectrum that is kept: 1/divisor of the size on each side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = Field(0.5, ge=0, le=1)
    divisor: int = Field(8, ge=1)


class UNetOptions(DiffusersOptions):
    """Options of a U-Net with a depth ControlNet; see docs/sd15.md for what each one does."""

    config: str | None = Field(None, min_length=1)
    vae: str | None = Field(None, min_length=1)
    controlnet: str | None = Field(None, min_length=1)
    scheduler: str | None = "EulerDiscreteScheduler"
    controlnet_scale: float = Field(1.0, ge=0, allow_inf_nan=False)
    controlnet_start: float = Field(0.0, ge=0, le=1)
    controlnet_end: float = Field(1.0, ge=0, le=1)
    control_steps: int | None = Field(None, ge=0)
    alpha: float = Field(10.0, ge=0, allow_inf_nan=False)
    background_weight: float | None = Field(None, ge=0, le=1)
    repeat_prompt: bool = True
    control_cn: bool = False
    controlnet_prompt: str | None = NEUTRAL_PROMPT
    controlnet_negative_prompt: str | None = NEUTRAL_NEGATIVE_PROMPT
    low_pass: LowPass | None = None
    attention_backend: AttentionKernel = "native"

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: str | None) -> str | None:
        return None if value is None else resolve_scheduler(value)

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

    @model_validator(mode="after")
    def _controlnet_range(self) -> UNetOptions:
        if self.controlnet_start >= self.controlnet_end:
            raise ValueError(
                f"controlnet_start {self.controlnet_start} must lie before "
                f"controlnet_end {self.controlnet_end}"
            )
        return self
