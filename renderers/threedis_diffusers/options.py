"""The options every renderer that drives a diffusers pipeline takes."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from threedis_core.plugin.interfaces import BackendOptions

Offload = Literal["none", "model", "sequential", "group"]
AttentionKernel = Literal["native", "cudnn", "efficient", "flash", "math"]
"""torch's own attention kernels; native is its choice."""
Dtype = Literal["auto", "float32", "float16", "bfloat16"]


class LoRA(BaseModel):
    """A LoRA to load.

    Args:
        path: A .safetensors file, a local folder or a hub id.
        weight: How strongly it counts.
        file: The file's name inside the folder or repository, where there are several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    weight: float = Field(1.0, allow_inf_nan=False)
    file: str | None = None


class ModelOptions(BackendOptions):
    """Options of everything that loads a model.

    Args:
        model: A local folder as ``save_pretrained`` writes it, or a hub id.
        dtype: Number format; "auto" chooses by device.
        device: Where to compute; "auto" takes what is there.
    """

    model: str = Field(min_length=1)
    dtype: Dtype = "auto"
    device: str = "auto"

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", value):
            raise ValueError("expected auto, cpu, mps, cuda, xpu, or a numbered one like cuda:1")
        return value


class DiffusersOptions(ModelOptions):
    """Options that every diffusers pipeline has; a family sets its own defaults.

    Args:
        offload: How much of the model waits outside of the device's memory.
        steps: Denoising steps.
        guidance: Guidance scale.
        loras: LoRAs to load.
        attention_backend: The attention kernel; a family narrows the names.
        compile: Compile the model's blocks.
    """

    offload: Offload = "none"
    steps: int = Field(50, ge=1, le=1000)
    guidance: float = Field(7.5, ge=0, allow_inf_nan=False)
    loras: tuple[LoRA, ...] = ()
    attention_backend: str = "native"
    compile: bool = False

    @field_validator("attention_backend", mode="before")
    @classmethod
    def _diffusers_spelling(cls, value: Any) -> Any:
        return value.lower().removeprefix("_native_") if isinstance(value, str) else value
