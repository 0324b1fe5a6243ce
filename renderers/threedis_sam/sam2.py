"""The region refiner ``sam2``: Segment Anything 2, asked as its forerunner is."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions
from threedis_sam.refiner import Sam, SamOptions
from threedis_transformers.loading import LoadedVisionModel


class Sam2Options(SamOptions):
    """Options of ``sam2``."""

    model: str = Field(
        default="facebook/sam2.1-hiera-small",
        min_length=1,
        description="Segment Anything 2 or 2.1: a local folder in transformers format with "
        "safetensors weights, or a hub id.",
    )


class Sam2(Sam):
    """Segment the depth map as ``sam`` does, by Segment Anything 2.

    The published models are those for films; of these only what segments a single picture is used.
    transformers' own picture processor of this model needs torchvision. This one does the same
    steps, by the same file, with Pillow.
    """

    Options = Sam2Options
    options: Sam2Options
    name = "sam2"
    model_types = ("sam2", "sam2_video")
    classes = ("Sam2Model", "ViTImageProcessorPil")

    @staticmethod
    @torch.no_grad()
    def segment(loaded: LoadedVisionModel, depth: DepthMap, regions: Regions) -> Tensor:
        """The mask of each box of ``regions`` in the depth map, shape (N, H, W), bool."""
        processor: Any = loaded.processor
        pixels = processor(depth.to_image().convert("RGB"), return_tensors="pt").pixel_values
        height, width = pixels.shape[-2:]  # the picture is stretched to the model's size
        corners = torch.tensor([box.xyxy for box in regions.boxes])
        corners = corners * torch.tensor([width, height, width, height])
        output = loaded.model(
            pixel_values=pixels.to(loaded.device, loaded.dtype),
            input_boxes=corners[None].to(loaded.device, loaded.dtype),
            multimask_output=False,
        )
        loaded.check_finite(output.pred_masks)
        masks = torch.nn.functional.interpolate(
            output.pred_masks[0].float().cpu(), (depth.height, depth.width), mode="bilinear"
        )
        return masks[:, 0] > 0
