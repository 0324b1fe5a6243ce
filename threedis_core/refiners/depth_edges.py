"""The region refiner ``depth-edges``: which pixels of a box stand out in depth. No weights.

N = number of instances; H, W = height and width in pixels. Relief is how much nearer a pixel is
than what is behind the instances there.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_MASK_PIXELS
from threedis_core.plugin.interfaces import BackendOptions, RegionRefiner
from threedis_core.refiners.boxes import given_regions
from threedis_core.refiners.crowd import Crowd
from threedis_core.refiners.depth_behind import Depth, depth_behind, greatest_nearby
from threedis_core.refiners.ownership import (
    LEAST_SHARE,
    LEAST_SPREAD,
    Candidate,
    fill_in,
    owned_regions,
    owners,
)
from threedis_core.values.box_rounding import Part
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Instance, Layout
from threedis_core.values.regions import PixelMask, Regions, nearest

FLATTEST = 0.005
"""Of the whole range of depth: what stands out by less is noise, or a step of an 8-bit picture."""
TYPICAL = 0.9
"""The quantile of the relief in a box that counts as its instance's relief."""
MAX_REFINED_PIXELS = 2**29
"""Pixels that are looked at for all instances: some seconds of work."""
MAX_BOX_PIXELS = 2**25
"""Pixels of the depth map in one box: hundreds of megabytes of memory."""
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
        """Regions of ``layout`` at the size of its masks, which have one, or the depth map's.

        Raises:
            LayoutError: More instances than can be looked at on a depth map or masks so large.
        """
        given = given_regions(layout, depth)
        _check_work(given, depth)
        crowd = Crowd(given, depth.height, depth.width)
        noise = FLATTEST * float(np.ptp(depth.values))
        candidates = [
            self._candidate(instance, index, crowd, depth.values, noise)
            for index, instance in enumerate(layout.instances)
        ]
        owner = nearest(owners(candidates, depth.values), given.height, given.width)
        return owned_regions(fill_in(owner, candidates, given), given)

    def _candidate(
        self, instance: Instance, index: int, crowd: Crowd, depth: Depth, noise: float
    ) -> Candidate:
        """What stands out of one instance.

        Args:
            instance: The instance.
            index: Its place in the layout.
            crowd: All of them.
            depth: Shape (H, W).
            noise: What is nearer by less does not stand out.
        """
        part, pixels = crowd.part(index), crowd.pixels(index)
        contested = crowd.contested(index)
        if instance.mask is not None:
            found = seen = pixels
        else:
            found = self._standing_out(depth, part, contested, noise)
            if found.sum() < LEAST_SHARE * pixels.sum():
                found = np.zeros_like(found)
            seen = found if found.any() else pixels
        # What it shares with others may be at their depth, not at its own.
        own = depth[part][seen & ~contested[part]]
        levels = own if own.size else depth[part][seen]
        level, spread = (float(levels.mean()), float(levels.std())) if levels.size else (0.0, 1.0)
        order = instance.depth_order
        return Candidate(part, found, level, max(spread, LEAST_SPREAD), order, instance.box)

    def _standing_out(
        self, depth: Depth, box: Part, contested: PixelMask, noise: float
    ) -> PixelMask:
        """The pixels of a box that are nearer than what is behind it and all that is contested."""
        inside = depth[box]
        if inside.size == 0:
            return np.zeros(inside.shape, dtype=np.bool_)
        covered = contested.copy()
        covered[box] = True
        reach = max(1, max(depth.shape) // NEARBY)
        # A box is cut off to whole pixels, and blurred edges spill over its sides.
        around = greatest_nearby(covered, reach)
        wide, box_in_wide = _widened(box, reach, depth.shape)
        relief = depth_behind(depth, around, wide)
        np.subtract(depth[wide], relief, out=relief)
        in_box = relief[box_in_wide]
        typical = float(np.quantile(in_box, TYPICAL))
        least = max(self.options.least_relief * typical, noise)
        nearby = greatest_nearby(relief, reach)[box_in_wide]
        return (in_box > least) & (in_box >= self.options.edge * nearby)


def _check_work(given: Regions, depth: DepthMap) -> None:
    """Refuse what would fill the memory or take minutes, before any of it is done."""
    count, pixels = len(given), depth.width * depth.height
    areas = [int(box.area * pixels) for box in given.boxes]
    # Measured: a box's own pixels cost twice as much as a pass over the whole picture.
    looked_at = count * pixels + 2 * sum(areas)
    if looked_at > MAX_REFINED_PIXELS or max(areas, default=0) > MAX_BOX_PIXELS:
        raise LayoutError(
            f"depth-edges cannot look at {count} instances on a depth map of "
            f"{depth.width}x{depth.height}: expected about {MAX_REFINED_PIXELS // pixels} or less, "
            f"with boxes of at most {MAX_BOX_PIXELS} pixels; use a smaller depth map or the region "
            "refiner boxes"
        )
    if count * given.width * given.height > MAX_MASK_PIXELS:
        raise LayoutError(
            f"depth-edges cannot make {count} masks of {given.width}x{given.height}: expected at "
            f"most {MAX_MASK_PIXELS} pixels in all; make the layout's masks smaller"
        )


def _widened(box: Part, reach: int, shape: tuple[int, ...]) -> tuple[Part, Part]:
    """A box with what is around it, cut off at the picture's edges; and where it lies in that."""
    wide = tuple(
        slice(max(side.start - reach, 0), min(side.stop + reach, length))
        for side, length in zip(box, shape, strict=True)
    )
    inner = tuple(
        slice(side.start - outer.start, side.stop - outer.start)
        for side, outer in zip(box, wide, strict=True)
    )
    return (wide[0], wide[1]), (inner[0], inner[1])
