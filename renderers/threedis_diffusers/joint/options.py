"""The options of renderers with joint attention."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from threedis_core.attention import CONTROLS
from threedis_diffusers.options import SCHEDULER, LoRA, RegionalOptions
from threedis_diffusers.parts.options import PartOptions
from threedis_diffusers.schedulers import FLOW_SCHEDULERS, Scheduler, resolve_scheduler

AttentionBackend = Literal["native", "cudnn", "efficient", "math", "flex"]
Lowering = Literal["auto", "dense", "segments", "block_mask"]


class JointOptions(PartOptions, RegionalOptions):
    """Options of a model with joint attention.

    Steps of a control are those of a run of 20 steps, the published length; see ``schedule.py``.

    Attributes:
        family: What messages call the models.
        most_tokens: Text tokens that the pipeline takes of a prompt at most, and that a prompt is
            padded to where it is read.
        reorders: True if the renderer can arrange image tokens, as a block mask asks.
        places_loras: True if the renderer can confine LoRAs to instances.
    """

    of_the_work = PartOptions.work_and(
        "nouns_in_prompt",
        *("default_side", "tokens_per_prompt", "texts_steps", "attention"),
        *CONTROLS,
        *(f"{control}_steps" for control in CONTROLS),
    )

    family: ClassVar[str]
    most_tokens: ClassVar[int] = 512
    reorders: ClassVar[bool] = False
    places_loras: ClassVar[bool] = False

    default_side: int = Field(
        default=1024,
        ge=1,
        description="Side in pixels of the picture where neither layout nor run says it; a "
        "multiple of 16 with the published models.",
    )
    tokens_per_prompt: int | Literal["auto"] = Field(
        default="auto",
        description="Text tokens kept of each prompt, from 1 to as many as the model reads. auto: "
        "as many as the longest prompt of a picture needs, which is faster.",
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
        "block mask (FLUX.1), which compute the same; auto picks by device, size and phase, or "
        "what `threedis tune` measured.",
    )
    attention_backend: AttentionBackend = Field(
        default="native",
        description="torch's attention kernel; native lets torch choose, cudnn and efficient need "
        "CUDA, flex is attention=block_mask.",
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
        if isinstance(value, int) and not 1 <= value <= cls.most_tokens:
            raise ValueError(f"expected auto, or 1..{cls.most_tokens} tokens")
        return value

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: Scheduler) -> Scheduler:
        return resolve_scheduler(value, tuple(FLOW_SCHEDULERS), cls.family)

    @field_validator("instance_loras")
    @classmethod
    def _can_be_placed(cls, value: dict[str, LoRA]) -> dict[str, LoRA]:
        if value and not cls.places_loras:
            raise ValueError(
                f"no LoRA can be confined to an instance in {cls.family}; leave instance_loras "
                "out, or give the LoRA in loras, for the whole picture"
            )
        return value

    @model_validator(mode="after")
    def _kernels_go_together(self) -> Self:
        flex = self.attention_backend == "flex"
        if not self.reorders and (flex or self.attention == "block_mask"):
            raise ValueError(
                f"{self.family} keeps its image tokens in place, so there is no block mask; use "
                "attention=dense or segments"
            )
        if flex and self.attention not in ("auto", "block_mask"):
            raise ValueError(
                f"attention_backend flex carries out attention=block_mask, not "
                f"attention={self.attention}; leave one of them at its default"
            )
        kernels = not flex and self.attention_backend != "native"
        if kernels and self.attention in ("segments", "block_mask"):
            raise ValueError(
                f"attention={self.attention} has kernels of its own, so attention_backend "
                f"{self.attention_backend} would do nothing; use attention=dense with it, or "
                "leave attention_backend at native"
            )
        return self

    @model_validator(mode="after")
    def _no_steps_for_a_control_that_is_off(self) -> Self:
        for control in CONTROLS:
            on, steps = self.is_on(control), self.control_steps(control)
            if steps is not None and not on:
                raise ValueError(
                    f"{control} is off, but {control}_steps is {steps}; set one of them"
                )
        return self


class ScaledControlNetOptions(JointOptions):
    """Options of a model with joint attention whose ControlNet counts alike at every step."""

    of_the_work = JointOptions.work_and("controlnet_scale")

    controlnet: str | None = Field(
        default=None,
        min_length=1,
        description="Local folder, hub id or file of the depth ControlNet; null: the one in the "
        "model's folder, else the published one.",
    )
    controlnet_scale: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="How much the depth map counts, 0 or more: 1 as trained, 0 not at all.",
    )


class ControlNetOptions(ScaledControlNetOptions):
    """Options of a model with joint attention that is given the depth by a ControlNet."""

    of_the_work = ScaledControlNetOptions.work_and("controlnet_start", "controlnet_end")

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

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.controlnet_start >= self.controlnet_end:
            raise ValueError(
                f"controlnet_start is {self.controlnet_start}, but controlnet_end is "
                f"{self.controlnet_end}; expected less"
            )
        return self
