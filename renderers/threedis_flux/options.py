"""The options of ``flux``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from threedis_core.plugin.options import OptionsModel
from threedis_diffusers.joint.options import JointOptions
from threedis_diffusers.options import LoRA, lora_from_path
from threedis_diffusers.parts.options import PART

DEPTH_MODEL = "black-forest-labs/FLUX.1-Depth-dev"
BASE_MODEL = "black-forest-labs/FLUX.1-dev"


class FirstBlockCache(OptionsModel):
    """diffusers' first-block cache: skip the other blocks while the first one changes little."""

    name: Literal["first_block"] = Field(
        default="first_block", description="Which cache it is: diffusers' first-block cache."
    )
    threshold: float = Field(
        default=0.08,
        gt=0,
        allow_inf_nan=False,
        description="Relative change of the first block below which the others are skipped, more "
        "than 0; higher is faster and less exact.",
    )


class TaylorSeerCache(OptionsModel):
    """diffusers' TaylorSeer: between computed steps, foretell what each attention gives."""

    name: Literal["taylorseer"] = Field(
        default="taylorseer", description="Which cache it is: diffusers' TaylorSeer."
    )
    interval: int = Field(
        default=5,
        ge=2,
        description="Of so many steps one is computed, 2 or more; higher is faster and less exact.",
    )
    warmup: int = Field(
        default=3, ge=1, description="Steps that are computed at the beginning of each phase."
    )
    order: int = Field(default=1, ge=0, le=4, description="Order of the Taylor series, 0 to 4.")


Cache = Annotated[FirstBlockCache | TaylorSeerCache, Field(discriminator="name")]


def cache_config(cache: Cache) -> Any:
    """diffusers' configuration of a cache."""
    import torch
    from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig

    if isinstance(cache, FirstBlockCache):
        return FirstBlockCacheConfig(cache.threshold)
    return TaylorSeerCacheConfig(
        cache_interval=cache.interval,
        disable_cache_before_step=cache.warmup,
        max_order=cache.order,
        taylor_factors_dtype=torch.float32,
    )


UNFIT_CACHES = {
    "faster": "it keeps what it has seen when a new phase begins, whose texts are of other length",
    "pyramid_attention_broadcast": "it keeps what it has seen when a new phase begins, whose texts "
    "are of other length",
    "mag": "its ratios belong to steps counted from the run's first, and it would count anew in "
    "each phase",
    "sea": "it needs to be told each step's noise by the pipeline, and FLUX.1's do not",
    "text_kv": "it keeps the texts' keys, which change from step to step in FLUX.1",
}
"""Caches of diffusers that do not go together with the hook, and why."""


class FluxBaseOptions(JointOptions):
    """Options of every renderer on FLUX.1."""

    family: ClassVar[str] = "FLUX.1"
    places_loras: ClassVar[bool] = True
    reorders: ClassVar[bool] = True
    parts: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder", "text_encoder_2", "vae")
    large: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder_2")

    transformer: str | None = Field(
        default=None, min_length=1, description=f"A FluxTransformer2DModel {PART}"
    )
    text_encoder: str | None = Field(
        default=None, min_length=1, description=f"A CLIPTextModel {PART}"
    )
    text_encoder_2: str | None = Field(
        default=None, min_length=1, description=f"A T5EncoderModel {PART}"
    )
    vae: str | None = Field(default=None, min_length=1, description=f"An AutoencoderKL {PART}")
    tokens_per_prompt: int | Literal["auto"] = Field(
        default=200,
        description="Text tokens kept of each prompt, 1 to 512; 200 as published. auto: as many as "
        "the longest prompt of a picture needs, which is faster.",
    )
    fuse_qkv: bool = Field(
        default=False,
        description="Join the query, key and value projections into one, which may be faster; not "
        "with LoRAs or quantisation.",
    )

    @model_validator(mode="after")
    def _joins_plain_weights(self) -> Self:
        if self.fuse_qkv and (self.has_loras or self.quantization):
            raise ValueError(
                "fuse_qkv joins plain weights: it would drop loras and cannot join quantised "
                "ones; set fuse_qkv=false"
            )
        return self

    @property
    def has_loras(self) -> bool:
        """True if any LoRA is loaded."""
        return bool(self.loras or self.instance_loras)


class FluxOptions(FluxBaseOptions):
    """Options of FLUX.1 with depth.

    Steps of a control are those of a run of 20 steps, the published length.
    """

    model: str = Field(
        default=DEPTH_MODEL,
        min_length=1,
        description="Local folder or hub id in diffusers format of a FLUX.1 that takes depth; with "
        "depth_lora of the base model, by default FLUX.1-dev.",
    )
    depth_lora: LoRA | None = Field(
        default=None,
        description="LoRA that teaches a base model depth: a path or hub id, or path, weight and "
        "file; null: the model takes depth itself.",
    )
    steps: int = Field(default=20, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="FLUX.1's embedded guidance scale, 0 or more: how closely the prompts are "
        "followed. It costs no time, and there is no negative prompt.",
    )
    cache: Cache | None = Field(
        default=None,
        description="Skip work while little changes from step to step: first_block (or true), "
        "taylorseer, or a mapping of name and settings; null or false: off. Pictures then go "
        "through the model one by one.",
    )

    @property
    def has_loras(self) -> bool:
        """True if any LoRA is loaded."""
        return super().has_loras or self.depth_lora is not None

    @field_validator("depth_lora", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return lora_from_path(value)

    @field_validator("cache", mode="before")
    @classmethod
    def _cache_by_name(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"name": "first_block"} if value else None
        settings = {"name": value} if isinstance(value, str) else value
        if not isinstance(settings, dict):
            return value
        name = str(settings.get("name", "first_block"))
        if name in UNFIT_CACHES:
            raise ValueError(
                f"diffusers' cache {name} does not go together with the hook: "
                f"{UNFIT_CACHES[name]}; use first_block or taylorseer"
            )
        if name not in ("first_block", "taylorseer"):
            raise ValueError("expected first_block or taylorseer, true or false")
        return {**settings, "name": name}

    @model_validator(mode="before")
    @classmethod
    def _a_depth_lora_goes_on_the_base_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("depth_lora") is not None:
            return {"model": BASE_MODEL, **data}
        return data
