"""The options every renderer that drives a diffusers pipeline takes."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from threedis_core.plugin.interfaces import BackendOptions
from threedis_core.plugin.options import OptionsModel

AUTO = "auto"
Offload = Literal["auto", "none", "model", "sequential", "group"]
AttentionKernel = Literal["native", "cudnn", "efficient", "flash", "math"]
"""torch's own attention kernels; native is its choice."""
Dtype = Literal["auto", "float32", "float16", "bfloat16"]
GUIDANCE = (
    "Classifier-free guidance scale, 0 or more: how closely the prompts are followed; 1 or less "
    "switches it off, and negative prompts with it."
)
KERNEL = (
    "torch's attention kernel; native lets torch choose, cudnn and efficient need CUDA. A layer "
    "that it cannot serve uses math."
)
SCHEDULER = (
    "Scheduler of diffusers by its class's name, whose ending may be left out (euler, UniPC), or a "
    "mapping of it and settings: {name: euler, use_karras_sigmas: true}; null: the model's own."
)


class LoRA(OptionsModel):
    """A LoRA to load."""

    path: str = Field(
        min_length=1, description="The LoRA: a .safetensors file, a local folder or a hub id."
    )
    weight: float = Field(
        default=1.0,
        allow_inf_nan=False,
        description="How strongly it counts: 1 as it was trained, 0 not at all; less than 0 does "
        "the opposite.",
    )
    file: str | None = Field(
        default=None,
        description="Name of the .safetensors file inside the folder or repository; null: the only "
        "one there.",
    )


def lora_from_path(value: Any) -> Any:
    """What a LoRA is validated from: a path alone is one with everything else as usual."""
    return {"path": value} if isinstance(value, str) else value


class ModelOptions(BackendOptions):
    """Options of everything that loads a model."""

    model: str = Field(
        min_length=1,
        description="The model: a local folder as save_pretrained writes it, with safetensors "
        "weights, or a hub id.",
    )
    dtype: Dtype = Field(
        default="auto",
        description="Number format to compute in; auto is float32 on a CPU, and on an accelerator "
        "the half-precision format that suits the model.",
    )
    device: str = Field(
        default="auto",
        description="Where to compute: cpu, mps, cuda, xpu, or a numbered one such as cuda:1; "
        "auto takes what is there.",
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", value):
            raise ValueError("expected auto, cpu, mps, cuda, xpu, or a numbered one like cuda:1")
        return value


class DiffusersOptions(ModelOptions):
    """Options that every diffusers pipeline has; a family sets its own defaults."""

    of_the_work = ModelOptions.work_and("vae_tiling", "steps", "guidance", "attention_backend")

    offload: Offload = Field(
        default=AUTO,
        description="How much of the model waits in main memory, for accelerators with little of "
        "their own: none, whole parts (model), or layer by layer, the next one fetched meanwhile "
        "(group) or not (sequential), which is slower; auto: as little as the free memory asks "
        "for.",
    )
    device_map: Literal["balanced"] | None = Field(
        default=None,
        description="balanced: spread the model's parts over all accelerators of one kind, by "
        "their free memory; null: the whole model is on one.",
    )
    variant: Literal["auto", "fp16"] | None = Field(
        default="auto",
        description="Which weights files to take where there are several: fp16, half as large; "
        "null, the plain ones; auto, fp16 if the model computes in float16. What is on this "
        "machine comes before what is not.",
    )
    vae_tiling: bool = Field(
        default=False,
        description="Decode the picture in tiles, for large pictures on small devices; where the "
        "memory runs out it is done anyway.",
    )
    steps: int = Field(default=50, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=7.5, ge=0, allow_inf_nan=False, description=GUIDANCE)
    loras: tuple[LoRA, ...] = Field(
        default=(), description="LoRAs to load, all of them at once; they need the package peft."
    )
    attention_backend: str = Field(
        default="native", description="Attention kernel; native is torch's own choice."
    )
    compile: bool = Field(
        default=False,
        description="Compile the model's blocks with torch.compile: the first pictures are slow, "
        "later ones faster. The controlled attention itself is not compiled.",
    )

    @field_validator("loras", mode="before")
    @classmethod
    def _paths_alone(cls, value: Any) -> Any:
        return [lora_from_path(one) for one in value] if isinstance(value, list | tuple) else value

    @field_validator("attention_backend", mode="before")
    @classmethod
    def _diffusers_spelling(cls, value: Any) -> Any:
        return value.lower().removeprefix("_native_") if isinstance(value, str) else value


class RegionalOptions(DiffusersOptions):
    """Options of a renderer whose hook follows the instances' regions."""

    of_the_work = DiffusersOptions.work_and("nouns_in_prompt")

    instance_loras: dict[str, LoRA] = Field(
        default={},
        description="LoRAs for single instances, by the names that a layout's instances give in "
        "loras: a path or hub id, or path, weight and file. Each counts in its instances' regions "
        "alone; they need the package peft.",
    )

    nouns_in_prompt: bool = Field(
        default=False,
        description="Add the instances' nouns to the global prompt that the model reads, as the "
        "published scripts do.",
    )

    @field_validator("instance_loras", mode="before")
    @classmethod
    def _instance_paths_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: lora_from_path(one) for name, one in value.items()}
