"""The estimators ``depth-anything`` and ``dpt``: models of transformers.

Importing this module imports no torch: whether a model is there is said before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import DepthEstimator
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.model_files.checks import read_configuration
from threedis_diffusers.model_files.sources import ModelSource
from threedis_estimate.options import DepthAnythingOptions, DPTOptions, EstimatorOptions
from threedis_estimate.pictures import to_rgb

if TYPE_CHECKING:
    from torch import Tensor

    from threedis_transformers.loading import LoadedVisionModel

CONFIG = "config.json"
NEAREST_METRES = 0.1
"""Metric depths below this count as this, so that one wrong pixel does not squeeze the others."""


class TransformersEstimator(LazyModel["LoadedVisionModel"], DepthEstimator):
    """Estimate depth with one model of transformers.

    A map is the model's inverse depth, resized to the picture's size and stretched so that its
    least value is 0 and its greatest 1. Of a metric model it is 1 / metres.
    """

    model_type: ClassVar[str]
    model_class: ClassVar[str]
    unused: ClassVar[tuple[str, ...]] = ()
    options: EstimatorOptions

    def find(self) -> Callable[[], LoadedVisionModel]:
        """Check device and files."""
        from threedis_transformers.loading import find_model

        return find_model(
            self.options, self.model_type, self.model_class, "DPTImageProcessorPil", self.unused
        ).load

    def inspect(self) -> Inspection:
        """The model's files, without loading it and without a network."""
        from threedis_transformers.loading import inspect_files

        return inspect_files(self.options, self.model_type)

    def estimate(
        self, pictures: Sequence[Image.Image], progress: Progress = silent
    ) -> list[DepthMap]:
        """Estimate one depth map per picture.

        Raises:
            InputError: A picture that is hardly more than a line, or has values out of range.
            OptionError: The device is not there.
            WeightsError: A file is missing or damaged, or it is another kind of model.
            RenderError: This estimator is at work already, or the model makes no numbers.
        """
        colours = to_rgb(pictures)
        # One file tells, without torch, whether the model is there; what devices there are, none.
        if not self.is_loaded and self.options.device in ("auto", "cpu"):
            read_configuration(ModelSource(self.options.model, library="transformers"), CONFIG)
        with self.in_use() as loaded:
            maps: dict[int, DepthMap] = {}
            for members in self._batches(colours):
                found = self._estimate(loaded, [colours[index] for index in members])
                maps |= zip(members, found, strict=True)
                progress("depth", len(maps), len(pictures))
        return [maps[index] for index in range(len(colours))]

    def _batches(self, pictures: Sequence[Image.Image]) -> Iterator[list[int]]:
        """The numbers of pictures of one size, at most ``batch_size`` together."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault(picture.size, []).append(index)
        most = self.options.batch_size
        for members in groups.values():
            for start in range(0, len(members), most):
                yield members[start : start + most]

    def _estimate(
        self, loaded: LoadedVisionModel, pictures: Sequence[Image.Image]
    ) -> list[DepthMap]:
        import torch

        pixels = loaded.processor(pictures, return_tensors="pt").pixel_values
        with torch.no_grad():
            output = loaded.model(pixels.to(loaded.device, loaded.dtype))
        output.predicted_depth = self._inverse(loaded.model.config, output.predicted_depth.float())
        sizes = [(picture.height, picture.width) for picture in pictures]
        resized = loaded.processor.post_process_depth_estimation(output, sizes)
        maps: list[DepthMap] = []
        for found, size in zip(resized, sizes, strict=True):
            values = found["predicted_depth"].reshape(size)  # of which sides of 1 pixel are gone
            loaded.check_finite(values)
            maps.append(DepthMap.normalise(values.cpu().numpy()))
        return maps

    def _inverse(self, config: Any, depth: Tensor) -> Tensor:
        metric = self.options.metric
        if metric is None:
            metric = getattr(config, "depth_estimation_type", "relative") == "metric"
        return 1 / depth.clamp(min=NEAREST_METRES) if metric else depth


class DepthAnything(TransformersEstimator):
    """Depth Anything, version 1 or 2."""

    Options = DepthAnythingOptions
    name = "depth-anything"
    model_type = "depth_anything"
    model_class = "DepthAnythingForDepthEstimation"


class DPT(TransformersEstimator):
    """DPT and MiDaS 3."""

    Options = DPTOptions
    name = "dpt"
    model_type = "dpt"
    model_class = "DPTForDepthEstimation"
    # The first fusion layer has nothing to add; published weights lack the layer for it.
    unused = ("neck.fusion_stage.layers.0.residual_layer1.",)
