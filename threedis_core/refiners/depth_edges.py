"""The region refiner ``depth-edges``: which pixels of a box stand out in depth. No weights.

N = number of instances; H, W = height and width in pixels. Relief is how much nearer a pixel is
than what is behind the instances there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from threedis_core.plugin.interfaces import BackendOptions, RegionRefiner
from threedis_core.refiners.boxes import given_regions
from threedis_core.refiners.depth_behind import Depth, depth_behind, greatest_nearby
from threedis_core.refiners.ownership import (
    LEAST_SHARE,
    LEAST_SPREAD,
    Candidate,
    contains,
    fill_in,
    owned_regions,
    owners,
)
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import PixelMask, Regions, nearest

FLATTEST = 0.005
"""Of the whole range of depth: what stands out by less is noise, or a step of an 8-bit picture."""
TYPICAL = 0.9
"""The quantile of the relief in a box that counts as its instance's relief."""
NEARBY = 64
"""The picture's longer side divided by this is how far a blurred edge reaches."""


class DepthEdgesOptions(BackendOptions):
    """Options of ``depth-edges``."""

    least_relief: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="A pixel belongs to the instance if it stands out from what is behind by this "
        "share, 0 to 1, of what the instance as a whole does. Lower takes more of where it touches "
        "the floor, higher leaves out more noise.",
    )
    edge: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Where along the slope of a blurred edge the border is drawn, as a share of "
        "the relief nearby, 0 to 1; 0 for depth maps with sharp edges.",
    )


class DepthEdges(RegionRefiner):
    """Cut each instance out of its box by depth.

    1. What is behind a box is filled in row by row from what is seen beside it, so that a floor,
       which comes nearer downwards, is not taken for a thing.
    2. In each box those pixels are kept that stand out from it.
    3. Where boxes overlap, a pixel goes to the instance whose depth it has. Of two of the same
       depth the nearer one gets it: by ``Instance.depth_order`` where the layout gives that, else
       by depth. Where the depth map contradicts the layout's order, the order wins.

    Masks of the layout stay as they are. An instance of which too little is found keeps its box,
    but for what belongs to others there; of those, it yields to all that are not behind it.
    """

    Options = DepthEdgesOptions
    options: DepthEdgesOptions

    def refine(self, layout: Layout, depth: DepthMap) -> Regions:
        """Regions of ``layout`` at the size of its masks, which have one, or the depth map's."""
        given = given_regions(layout, depth)
        inside = given.pixel_masks(depth.height, depth.width).astype(np.bool_)
        crowd = inside.sum(axis=0, dtype=np.int32)
        candidates = [
            self._candidate(layout, index, inside, crowd, depth.values)
            for index in range(len(given))
        ]
        owner = nearest(owners(candidates, depth.values), given.height, given.width)
        return owned_regions(fill_in(owner, candidates, given), given)

    def _candidate(
        self,
        layout: Layout,
        index: int,
        inside: NDArray[np.bool_],
        crowd: NDArray[np.int32],
        depth: Depth,
    ) -> Candidate:
        """What stands out of instance ``index``.

        Args:
            layout: The layout.
            index: The instance's place in it.
            inside: Every instance's box or mask, shape (N, H, W).
            crowd: How many of them each pixel is in, shape (H, W).
            depth: Shape (H, W).
        """
        instance, pixels = layout.instances[index], inside[index]
        behind = [i for i, it in enumerate(layout.instances) if contains(it.box, instance.box)]
        contested = crowd - inside[behind].sum(axis=0) - pixels > 0
        if instance.mask is not None:
            found = seen = pixels
        else:
            found = self._standing_out(depth, pixels, contested | pixels)
            if found.sum() < LEAST_SHARE * pixels.sum():
                found = np.zeros_like(found)
            seen = found if found.any() else pixels
        own = depth[seen & ~contested]
        levels = own if own.size else depth[seen]
        level, spread = (float(levels.mean()), float(levels.std())) if levels.size else (0.0, 1.0)
        order = instance.depth_order
        return Candidate(found, level, max(spread, LEAST_SPREAD), order, instance.box)

    def _standing_out(self, depth: Depth, inside: PixelMask, covered: PixelMask) -> PixelMask:
        """The pixels ``inside`` that are nearer than what is behind all that is ``covered``."""
        if not inside.any():
            return inside
        reach = max(1, max(depth.shape) // NEARBY)
        # A box is cut off to whole pixels, and blurred edges spill over its sides.
        around = greatest_nearby(covered.astype(np.float32), reach) > 0
        relief = depth - depth_behind(depth, around)
        typical = float(np.quantile(relief[inside], TYPICAL))
        least = max(self.options.least_relief * typical, FLATTEST * float(np.ptp(depth)))
        nearby = greatest_nearby(relief, reach)
        return inside & (relief > least) & (relief >= self.options.edge * nearby)
