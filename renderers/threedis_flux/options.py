"""The options of ``flux``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from threedis_core.attention import CONTROLS
from threedis_core.plugin.options import OptionsModel
from threedis_diffusers.options import SCHEDULER, LoRA, RegionalOptions, lora_from_path
from threedis_diffusers.parts.options import PART, PartOptions
from threedis_diffusers.schedulers import FLOW_SCHEDULERS, Scheduler, resolve_scheduler

DEPTH_MODEL = "black-forest-labs/FLUX.1-Depth-dev"
BASE_MODEL = "black-forest-labs/FLUX.1-dev"
MOST_TOKENS = 512
"""Text tokens that FLUX's pipelines take at most, and that T5 reads a prompt padded to."""

AttentionBackend = Literal["native", "cudnn", "efficient", "math", "flex"]
Lowering = Literal["auto", "dense", "segments", "block_mask"]


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


class FluxOptions(PartOptions, RegionalOptions):
    """Options of FLUX.1 with depth.

    Steps of a control are those of a run of 20 steps, the published length; see ``schedule.py``.
    """

    of_the_work = PartOptions.work_and(
        "nouns_in_prompt",
        *("default_side", "tokens_per_prompt", "texts_steps", "attention"),
        *CONTROLS,
        *(f"{control}_steps" for control in CONTROLS),
    )

    parts: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder", "text_encoder_2", "vae")
    large: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder_2")

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
    default_side: int = Field(
        default=1024,
        ge=1,
        description="Side in pixels of the picture where neither layout nor run says it; a "
        "multiple of 16 with the published models.",
    )
    steps: int = Field(default=20, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="FLUX.1's embedded guidance scale, 0 or more: how closely the prompts are "
        "followed. It costs no time, and there is no negative prompt.",
    )
    tokens_per_prompt: int | Literal["auto"] = Field(
        default=200,
        description="Text tokens kept of each prompt, 1 to 512; 200 as published. auto: as many as "
        "the longest prompt of a picture needs, which is faster.",
    )
    scheduler: Scheduler = Field(default=None, description=SCHEDULER)
    i2i: bool = Field(
        default=True,
        description="Let the image inside a region see, of the image, only its own region; false: "
        "never (for ablations).",
    )
    i2t: bool = Field(
        default=True,
        description="Let the image inside a region see, of the instances' texts, only its own; "
        "false: never (for ablations).",
    )
    t2i: bool = Field(
        default=True,
        description="Let an instance's text see, of the image, only its own region; false: never "
        "(for ablations).",
    )
    t2t: bool = Field(
        default=True,
        description="Let an instance's text see, of the texts, only itself; false: never (for "
        "ablations).",
    )
    i2i_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps of 20, from the first, i2i is on; null: 4, 3 or 2 for "
        "pictures near 512, 768 or 1024 pixels, as published.",
    )
    i2t_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps of 20, from the first, i2t is on; null: all.",
    )
    t2i_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps of 20, from the first, t2i is on; null: all.",
    )
    t2t_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps of 20, from the first, t2t is on; null: all.",
    )
    texts_steps: int | None = Field(
        default=None,
        ge=0,
        # U-Nets call it control_steps; its first name, which configs may still have, said nothing.
        validation_alias=AliasChoices("texts_steps", "control_steps", "hard_steps"),
        description="For how many steps of 20, from the first, the instances' texts are there; "
        "then they are dropped, every control goes off, and the plain model goes on. 0: never; "
        "null: all. control_steps is another name for it.",
    )
    attention: Lowering = Field(
        default="auto",
        description="How the plan of who sees whom is carried out: a dense mask, segments or a "
        "block mask, which compute the same; auto picks by device, size and phase, or what "
        "`threedis tune` measured.",
    )
    attention_backend: AttentionBackend = Field(
        default="native",
        description="torch's attention kernel; native lets torch choose, cudnn and efficient need "
        "CUDA, flex is attention=block_mask.",
    )
    fuse_qkv: bool = Field(
        default=False,
        description="Join the query, key and value projections into one, which may be faster; not "
        "with LoRAs or quantisation.",
    )
    cache: Cache | None = Field(
        default=None,
        description="Skip work while little changes from step to step: first_block (or true), "
        "taylorseer, or a mapping of name and settings; null or false: off. Pictures then go "
        "through the model one by one.",
    )

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

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: Scheduler) -> Scheduler:
        return resolve_scheduler(value, tuple(FLOW_SCHEDULERS), "FLUX.1")

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
        if self.fuse_qkv and (
            self.loras or self.instance_loras or self.depth_lora or self.quantization
        ):
            raise ValueError(
                "fuse_qkv joins plain weights: it would drop loras and cannot join quantised "
                "ones; set fuse_qkv=false"
            )
        return self

    @model_validator(mode="after")
    def _no_steps_for_a_control_that_is_off(self) -> FluxOptions:
        for control in CONTROLS:
            on, steps = self.is_on(control), self.control_steps(control)
            if steps is not None and not on:
                raise ValueError(
                    f"{control} is off, but {control}_steps is {steps}; set one of them"
                )
        return self
