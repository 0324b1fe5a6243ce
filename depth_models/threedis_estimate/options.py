"""The options of the depth estimators."""

from __future__ import annotations

from pydantic import Field

from threedis_diffusers.options import ModelOptions


class EstimatorOptions(ModelOptions):
    """Options of every estimator of transformers."""

    batch_size: int = Field(
        default=4,
        ge=1,
        description="Most pictures to work on at once; only pictures of one size go together.",
    )
    metric: bool | None = Field(
        default=None,
        description="Whether the model makes metres, of which the inverse is taken; null: as its "
        "configuration says. That of a metric DPT says nothing: set true.",
    )


class DepthAnythingOptions(EstimatorOptions):
    """Options of ``depth-anything``."""

    model: str = Field(
        default="depth-anything/Depth-Anything-V2-Small-hf",
        min_length=1,
        description="Depth Anything, version 1 or 2: a local folder in transformers format with "
        "safetensors weights, or a hub id.",
    )


class DPTOptions(EstimatorOptions):
    """Options of ``dpt``."""

    model: str = Field(
        default="Intel/dpt-large",
        min_length=1,
        description="DPT or MiDaS 3: a local folder in transformers format with safetensors "
        "weights, or a hub id.",
    )
