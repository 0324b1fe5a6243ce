"""The options of ``flux``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from threedis_core.attention.joint_controls import CONTROLS
from threedis_diffusers.options import DiffusersOptions, LoRA

DEPTH_MODEL = "black-forest-labs/FLUX.1-Depth-dev"
BASE_MODEL = "black-forest-labs/FLUX.1-dev"
MOST_TOKENS = 512
"""Text tokens that FLUX's pipelines take at most, and that T5 reads a prompt padded to."""

AttentionBackend = Literal["native", "cudnn", "efficient", "math", "flex"]
Lowering = Literal["auto", "dense", "segments", "block_mask"]


class FirstBlockCache(BaseModel):
    """diffusers' first-block cache: skip the other blocks while the first one changes little.

    Args:
        threshold: The relative change below which they are skipped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.08, gt=0, allow_inf_nan=False)


class FluxOptions(DiffusersOptions):
    """Options of FLUX.1 with depth; see docs/flux.md for what each one does."""

    model: str = Field(DEPTH_MODEL, min_length=1)
    depth_lora: LoRA | None = None
    default_side: int = Field(1024, ge=1)
    steps: int = Field(20, ge=1, le=1000)
    guidance: float = Field(10.0, ge=0, allow_inf_nan=False)
    tokens_per_prompt: int | Literal["auto"] = 200
    i2i: bool = True
    i2t: bool = True
    t2i: bool = True
    t2t: bool = True
    i2i_steps: int | None = Field(None, ge=0)
    i2t_steps: int | None = Field(None, ge=0)
    t2i_steps: int | None = Field(None, ge=0)
    t2t_steps: int | None = Field(None, ge=0)
    hard_steps: int | None = Field(None, ge=0)
    attention: Lowering = "auto"
    attention_backend: AttentionBackend = "native"
    fuse_qkv: bool = False
    quantization: dict[str, Any] | None = None
    cache: FirstBlockCache | None = None

    def control_steps(self, control: str) -> int | None:
        """For how many steps, in a run of the published length, a control is on; None: all."""
        return getattr(self, f"{control}_steps")

    def is_on(self, control: str) -> bool:
        """False for a control that is switched off for an ablation."""
        return getattr(self, control)

    @field_validator("tokens_per_prompt")
    @classmethod
    def _fits_the_model(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= MOST_TOKENS:
            raise ValueError(f"expected auto, or 1..{MOST_TOKENS} tokens")
        return value

    @field_validator("depth_lora", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("cache", mode="before")
    @classmethod
    def _cache_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return FirstBlockCache() if value else None
        return value

    @model_validator(mode="before")
    @classmethod
    def _a_depth_lora_goes_on_the_base_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("depth_lora") is not None:
            return {"model": BASE_MODEL, **data}
        return data

    @model_validator(mode="after")
    def _go_together(self) -> FluxOptions:
        if self.attention_backend == "flex" and self.attention not in ("auto", "block_mask"):
            raise ValueError(
                f"attention_backend flex carries out attention=block_mask, not "
                f"attention={self.attention}; leave one of them at its default"
            )
        kernels = self.attention_backend not in ("native", "flex")
        if kernels and self.attention in ("segments", "block_mask"):
            raise ValueError(
                f"attention={self.attention} has kernels of its own, so attention_backend "
                f"{self.attention_backend} would do nothing; use attention=dense with it, or "
                "leave attention_backend at native"
            )
        if self.fuse_qkv and (self.loras or self.depth_lora or self.quantization):
            raise ValueError(
                "fuse_qkv joins plain weights: it would drop loras and cannot join quantised "
                "ones; set fuse_qkv=false"
            )
        return self

    @model_validator(mode="after")
    def _no_steps_for_a_control_that_is_off(self) -> FluxOptions:
        for control in CONTROLS:
            if not self.is_on(control) and self.control_steps(control) is not None:
                raise ValueError(
                    f"{control} is off, but {control}_steps is {self.control_steps(control)}; "
                    "set one of them"
                )
        return self
