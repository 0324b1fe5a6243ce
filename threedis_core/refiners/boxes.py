"""The region refiner ``boxes``, and what every region refiner starts from."""

from __future__ import annotations

from threedis_core.plugin.interfaces import BackendOptions, RegionRefiner
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions


class BoxRefinerOptions(BackendOptions):
    """``boxes`` has no options."""


class BoxRefiner(RegionRefiner):
    """Take the layout's boxes, and its masks where it has them, as they are."""

    Options = BoxRefinerOptions

    def refine(self, layout: Layout, depth: DepthMap) -> Regions:
        """Regions of ``layout`` at the size of its masks, which have one, or the depth map's."""
        return given_regions(layout, depth)


def given_regions(layout: Layout, depth: DepthMap) -> Regions:
    """What a layout says itself, at the size at which no mask of it loses a pixel.

    That is the size of its masks, which all have one, or the depth map's if there are none.
    """
    masks = (instance.mask for instance in layout.instances)
    size = next((mask for mask in masks if mask is not None), depth)
    return Regions.from_layout(layout, size.width, size.height)
