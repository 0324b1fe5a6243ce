"""What every training can be told, in the words that a person writes in a config."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# A training that extends these settings repeats a field's type here to give it another default,
# and its bounds and its description with it.
Steps = Annotated[int, Field(ge=1, description="Optimiser steps.")]
BatchSize = Annotated[
    int, Field(ge=1, description="Examples of each process in each forward pass.")
]
Accumulation = Annotated[int, Field(ge=1, description="Forward passes of each step.")]
LearningRate = Annotated[
    float, Field(gt=0, allow_inf_nan=False, description="Greatest learning rate.")
]
Warmup = Annotated[int, Field(ge=0, description="Steps over which the learning rate grows from 0.")]
Schedule = Annotated[
    Literal["constant", "cosine"],
    Field(description="What the learning rate does after the warm-up."),
]
Decay = Annotated[
    float, Field(ge=0, lt=1, description="Decay of the averaged weights, which are the result.")
]
CheckpointEvery = Annotated[
    int, Field(ge=1, description="Steps between checkpoints; the newest is kept.")
]
LogEvery = Annotated[
    int, Field(ge=1, description="Steps that a point of the loss curve is the mean of.")
]
ValidateEvery = Annotated[
    int | None,
    Field(ge=1, description="Steps between validations; null: only at the end."),
]


class ValidationSettings(BaseModel):
    """When a training shows what it has learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: ValidateEvery = None


class TrainingSettings(BaseModel):
    """How long and how fast a training goes: everything but the task."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    steps: Steps
    batch_size: BatchSize
    accumulation: Accumulation = 1
    learning_rate: LearningRate
    warmup: Warmup = 100
    schedule: Schedule = "cosine"
    weight_decay: float = Field(
        default=0.01, ge=0, allow_inf_nan=False, description="Weight decay of AdamW."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Greatest norm of the gradient."
    )
    ema: Decay = 0.999
    precision: Literal["no", "fp16", "bf16"] = Field(
        default="no", description="bf16 and fp16 compute in 16 bits and keep weights in 32."
    )
    checkpoint_every: CheckpointEvery = 250
    log_every: LogEvery = 25
    validation: ValidationSettings = Field(
        default=ValidationSettings(), description="How the training shows what it has learnt."
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of weights, batches and noise."
    )

    def facts(self) -> dict[str, Any]:
        """These settings, JSON-ready; what a class that extends them adds is left out."""
        return self.model_dump(mode="json", include=set(TrainingSettings.model_fields))
