"""The depth of pictures that have no depth map: estimated once, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import DepthEstimator
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.training.example import BadExample, Example
from threedis_ldm3d.training.example_files import make_in_batches, open_image
from threedis_ldm3d.training.shards import MadeExample, Shards


@dataclass(frozen=True, eq=False)
class DepthLabels:
    """Estimated depth in a cache of its own, so that another VAE needs no second estimate.

    Args:
        estimator: What estimates it.
        size: Side in pixels of the square that each depth map is stretched to.
        shards: The cache: float16 in [0, 1], shape (1, size, size), 1 nearest.
    """

    estimator: DepthEstimator
    size: int
    shards: Shards

    def of(
        self, number: int, examples: Sequence[Example]
    ) -> tuple[dict[int, Tensor], tuple[BadExample, ...]]:
        """The labels of one shard's examples.

        Args:
            number: Of the shard.
            examples: Its examples.
        Returns:
            Labels by the places of the examples without a depth map, and the examples of these
            whose picture cannot be used.
        """
        if all(example.depth is not None for example in examples):
            return {}, ()
        shard = self.shards.shard(number, examples, self._estimate)
        rows = shard.read(range(len(shard.kept))) if shard.kept else ()
        return dict(zip(shard.kept, rows, strict=True)), shard.bad

    def _estimate(self, number: int, examples: Sequence[Example]) -> MadeExample:
        def estimate(pictures: list[Image.Image]) -> Tensor:
            maps = self.estimator.estimate(pictures)
            if len(maps) != len(pictures):
                raise RenderError(
                    f"the depth estimator returned {len(maps)} maps for {len(pictures)} pictures"
                )
            return torch.stack([stretched(depth, self.size).half() for depth in maps])

        places = [place for place, example in enumerate(examples) if example.depth is None]
        return make_in_batches(
            examples, places, lambda place: open_image(examples[place]), estimate
        )


def stretched(depth: DepthMap, size: int) -> Tensor:
    """A depth map as a square of ``size`` pixels, float32 in [0, 1], shape (1, size, size)."""
    return torch.from_numpy(depth.resize(size, size).values.copy())[None]
