"""The options of ``ldm3d``."""

from __future__ import annotations

from pydantic import Field, field_validator

from threedis_diffusers.options import (
    GUIDANCE,
    KERNEL,
    SCHEDULER,
    AttentionKernel,
    DiffusersOptions,
)
from threedis_diffusers.schedulers import Scheduler, resolve_scheduler

PUBLISHED = "sanaka87/3DIS"
ADAPTER_STEPS = "For how many steps, from the first, the layout adapter is on; null: all steps."
FUSER_STEPS = "For how many steps, from the first, the regional fusion is on; null: all steps."
REPEAT_PROMPT = (
    'Send each noun once per instance, at most 7 times, joined by ", and ", as published; false: '
    "once."
)
STRETCH = (
    "Stretch each map so that its least value is 0 and its greatest 1; false: keep the decoded "
    "values."
)


class LDM3DOptions(DiffusersOptions):
    """Options of ``ldm3d``; the defaults are the published ones."""

    of_the_work = DiffusersOptions.work_and(
        *("adapter_steps", "fuser_steps", "alpha", "repeat_prompt", "negative_prompt", "side"),
        *("stretch", "batch_size"),
    )

    model: str = Field(
        default="Intel/ldm3d-4c",
        min_length=1,
        description="Local folder or hub id in diffusers format of a model whose VAE has depth for "
        "its last channel.",
    )
    unet: str | None = Field(
        default=PUBLISHED,
        min_length=1,
        description="Weights that make the U-Net a text-to-depth one: a file, or a local folder or "
        "hub id with unet_0901; null: the model's own.",
    )
    adapter: str | None = Field(
        default=PUBLISHED,
        min_length=1,
        description="Layout adapter: a file, or a local folder or hub id with layout_adapter; "
        "null: none.",
    )
    scheduler: Scheduler = Field(default="UniPCMultistepScheduler", description=SCHEDULER)
    steps: int = Field(default=30, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=6.5, ge=0, allow_inf_nan=False, description=GUIDANCE)
    adapter_steps: int | None = Field(default=16, ge=0, description=ADAPTER_STEPS)
    fuser_steps: int | None = Field(default=31, ge=0, description=FUSER_STEPS)
    alpha: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="How strongly a region binds its noun in the regional fusion, 0 or more.",
    )
    repeat_prompt: bool = Field(default=True, description=REPEAT_PROMPT)
    negative_prompt: str | None = Field(
        default=None,
        description="What the depth map should not show; null: the layout's negative prompt.",
    )
    side: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Side in pixels of the square whose area the model works at, 8 to 4096; null: "
        "the model's own. The map is then resized.",
    )
    stretch: bool = Field(default=True, description=STRETCH)
    batch_size: int = Field(
        default=4, ge=1, description="Most depth maps to work on at once; fewer take less memory."
    )
    attention_backend: AttentionKernel = Field(default="native", description=KERNEL)

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: Scheduler) -> Scheduler:
        return resolve_scheduler(value)
