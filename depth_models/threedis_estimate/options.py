"""The options of the depth estimators."""

from __future__ import annotations

from pydantic import Field

from threedis_diffusers.options import ModelOptions


class EstimatorOptions(ModelOptions):
    """Options of every estimator of transformers.

    Args:
        batch_size: Most pictures to work on at once; only pictures of one size go together.
        metric: Whether the model makes metres; None: as its configuration says. That of a metric
            DPT says nothing.
    """

    batch_size: int = Field(4, ge=1)
    metric: bool | None = None


class DepthAnythingOptions(EstimatorOptions):
    """Options of ``depth-anything``."""

    model: str = Field("depth-anything/Depth-Anything-V2-Small-hf", min_length=1)


class DPTOptions(EstimatorOptions):
    """Options of ``dpt``."""

    model: str = Field("Intel/dpt-large", min_length=1)
