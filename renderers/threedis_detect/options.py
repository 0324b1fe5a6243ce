"""The options of the detectors and of ``clip``."""

from __future__ import annotations

from pydantic import Field

from threedis_diffusers.options import ModelOptions


class DetectorOptions(ModelOptions):
    """Options of every detector here."""

    of_the_work = ModelOptions.work_and("least_score", "side")

    segmenter: str = Field(
        default="facebook/sam-vit-huge",
        min_length=1,
        description="Segment Anything, which makes the masks: a local folder in transformers "
        "format with safetensors weights, or a hub id.",
    )
    least_score: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Boxes of a lower score are not kept; metrics cut higher, and a low cut here "
        "keeps the whole curve of average precision.",
    )
    side: int | None = Field(
        default=512,
        ge=16,
        le=4096,
        description="A picture of another height is stretched to a square of this side before it "
        "is looked at, as COCO-MIG does; null: it is looked at as it is.",
    )


class GroundingDinoOptions(DetectorOptions):
    """Options of ``grounding-dino``."""

    model: str = Field(
        default="IDEA-Research/grounding-dino-tiny",
        min_length=1,
        description="GroundingDINO: a local folder in transformers format with safetensors "
        "weights, or a hub id. The default is its Swin-T.",
    )


class MMGroundingDinoOptions(DetectorOptions):
    """Options of ``mm-grounding-dino``."""

    model: str = Field(
        default="openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
        min_length=1,
        description="MM-Grounding-DINO: a local folder in transformers format with safetensors "
        "weights, or a hub id.",
    )


class ClipOptions(ModelOptions):
    """Options of ``clip``."""

    model: str = Field(
        default="openai/clip-vit-large-patch14",
        min_length=1,
        description="CLIP: a local folder in transformers format with safetensors weights, or a "
        "hub id.",
    )
    batch_size: int = Field(
        default=16, ge=1, le=1024, description="Most pictures or crops to look at in one go."
    )
