"""The options of ``ldm3d``."""

from __future__ import annotations

from pydantic import Field, field_validator

from threedis_diffusers.options import AttentionKernel, DiffusersOptions
from threedis_diffusers.unet.schedulers import resolve_scheduler

PUBLISHED = "sanaka87/3DIS"


class LDM3DOptions(DiffusersOptions):
    """Options of ``ldm3d``; the defaults are the published ones.

    Args:
        unet: Weights that make the U-Net a text-to-depth one: a file, a folder or a hub id; None:
            the model's own.
        adapter: The layout adapter: a file, a folder or a hub id; None: none.
        scheduler: A scheduler of diffusers; None: the model's own.
        adapter_steps: The adapter is on for the first so many steps; None: all.
        fuser_steps: The regional fusion is on for the first so many steps; None: all.
        alpha: How strongly a region binds its noun in the fusion.
        repeat_prompt: Send each noun min(N, 7) times, joined by ", and ".
        negative_prompt: What the depth map should not show; None: the layout's.
        side: Side in pixels of the square whose area the model works at; None: its own.
        stretch: Stretch each map from 0 to 1; False: keep the decoded values.
        batch_size: Most maps to work on at once.
    """

    model: str = Field("Intel/ldm3d-4c", min_length=1)
    unet: str | None = Field(PUBLISHED, min_length=1)
    adapter: str | None = Field(PUBLISHED, min_length=1)
    scheduler: str | None = "UniPCMultistepScheduler"
    steps: int = Field(30, ge=1, le=1000)
    guidance: float = Field(6.5, ge=0, allow_inf_nan=False)
    adapter_steps: int | None = Field(16, ge=0)
    fuser_steps: int | None = Field(31, ge=0)
    alpha: float = Field(10.0, ge=0, allow_inf_nan=False)
    repeat_prompt: bool = True
    negative_prompt: str | None = None
    side: int | None = Field(None, ge=8, le=4096)
    stretch: bool = True
    batch_size: int = Field(4, ge=1)
    attention_backend: AttentionKernel = "native"

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: str | None) -> str | None:
        return None if value is None else resolve_scheduler(value)
