"""The region refiner ``sam``: Segment Anything, asked with each box, on the depth map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import RegionRefiner
from threedis_core.refiners.boxes import given_regions
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions, nearest
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.options import ModelOptions
from threedis_transformers.loading import LoadedVisionModel, find_model, inspect_files


class SamOptions(ModelOptions):
    """Options of ``sam``."""

    model: str = Field(
        default="facebook/sam-vit-base",
        min_length=1,
        description="Segment Anything: a local folder in transformers format with safetensors "
        "weights, or a hub id.",
    )


class Sam(LazyModel[LoadedVisionModel], RegionRefiner):
    """Segment the depth map as a grey picture, one mask for each box, all boxes in one call.

    Masks of the layout stay as they are, and a box in which nothing is found stays a box.

    Source:
        3DIS (arXiv 2410.12669): the mask takes the box's place. Like there it is not cut off at
        the box.
    """

    Options = SamOptions
    options: SamOptions
    name = "sam"
    model_types: ClassVar[tuple[str, ...]] = ("sam",)
    """What config.json may call the model."""
    classes: ClassVar[tuple[str, str]] = ("SamModel", "SamImageProcessorPil")
    """The model's and its picture processor's, in transformers."""

    def find(self) -> Callable[[], LoadedVisionModel]:
        """Check device and files."""
        return find_model(self.options, self.model_types, *self.classes).load

    def inspect(self) -> Inspection:
        """The model's files, without loading it and without a network."""
        return inspect_files(self.options, self.model_types)

    def check(self, layout: Layout) -> None:
        """See that the device and the model's files are there, if ``layout`` needs them.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing, or it is another kind of model.
        """
        if not _all_masked(layout):
            self.check_model()

    def refine(self, layout: Layout, depth: DepthMap) -> Regions:
        """Regions of ``layout`` at the size of its masks, which have one, or the depth map's.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing or damaged, or it is another kind of model.
            RenderError: This refiner is at work already, or the model makes no numbers.
        """
        given = given_regions(layout, depth)
        if _all_masked(layout):
            return given
        with self.in_use() as loaded:
            found = self.segment(loaded, depth, given).numpy()
        resized = [nearest(mask, given.height, given.width) for mask in found]
        masks = tuple(
            own if own is not None else mask if mask.any() else None
            for own, mask in zip(given.masks, resized, strict=True)
        )
        return Regions(given.boxes, masks, given.height, given.width)

    @staticmethod
    def segment(loaded: LoadedVisionModel, depth: DepthMap, regions: Regions) -> Tensor:
        """The mask of each box of ``regions`` in the depth map, shape (N, H, W), bool."""
        return segment(loaded, depth, regions)


def _all_masked(layout: Layout) -> bool:
    """True if no instance is left to be segmented."""
    return all(instance.mask is not None for instance in layout.instances)


@torch.no_grad()
def segment(loaded: LoadedVisionModel, depth: DepthMap, regions: Regions) -> Tensor:
    """The mask of each box of ``regions`` in the depth map, shape (N, H, W), bool."""
    from transformers import SamProcessor

    size = (depth.width, depth.height) * 2
    corners = [[side * of for side, of in zip(b.xyxy, size, strict=True)] for b in regions.boxes]
    processor: Any = SamProcessor(loaded.processor)
    inputs = processor(depth.to_image(), input_boxes=[corners], return_tensors="pt")
    output = loaded.model(
        pixel_values=inputs.pixel_values.to(loaded.device, loaded.dtype),
        input_boxes=inputs.input_boxes.to(loaded.device, loaded.dtype),
        multimask_output=False,
    )
    loaded.check_finite(output.pred_masks)
    masks = processor.post_process_masks(
        output.pred_masks.float().cpu(), inputs.original_sizes, inputs.reshaped_input_sizes
    )
    return masks[0][:, 0]
