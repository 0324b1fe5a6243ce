"""Region refiners against the exact masks of pocket scenes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image
from scipy import ndimage

from threedis_core.plugin.interfaces import RegionRefiner
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_pocket.layouts import layout_scene, sample_layouts, scene_layout
from threedis_pocket.scenes import sample_scenes
from threedis_pocket.world import draw

SIZE = 128
BLURS = MappingProxyType({"exact": 0.0, "blurred": 1.5})
"""Standard deviation, in pixels, of what the depth is blurred with."""
SHOWN = 4


@dataclass(frozen=True, eq=False)
class View:
    """A layout, its exact depth, and the instance seen at each pixel, -1 for none: (H, W)."""

    layout: Layout
    depth: DepthMap
    ids: np.ndarray


def held_out(count: int, overlap: float | None) -> list[View]:
    """Views of layouts that no training draws from; ``overlap`` as in ``sample_scenes``."""
    if overlap is None:
        layouts = sample_layouts("test", count)
    else:
        scenes = sample_scenes("test", count, least=2, overlap=overlap)
        layouts = [scene_layout(scenes, index) for index in range(count)]
    return [_view(layout) for layout in layouts]


def _view(layout: Layout) -> View:
    drawing = draw(layout_scene(layout), SIZE, SIZE, supersample=1)
    return View(layout, DepthMap(drawing.depth[0].numpy()), drawing.ids[0].numpy())


def mean_iou(refiner: RegionRefiner, views: Sequence[View], blur: float) -> tuple[float, int]:
    """The mean IoU of regions with what is seen of their instances, and of how many.

    Instances that others hide wholly do not count.
    """
    found: list[float] = []
    for view in views:
        depth = DepthMap(np.clip(ndimage.gaussian_filter(view.depth.values, blur), 0, 1))
        masks = refiner.refine(view.layout, depth).pixel_masks(SIZE, SIZE) > 0
        for index, mask in enumerate(masks):
            exact = view.ids == index
            if exact.any():
                found.append(float((mask & exact).sum() / (mask | exact).sum()))
    return float(np.mean(found)), len(found)


def draw_regions(refiners: Iterable[RegionRefiner], views: Sequence[View]) -> Image.Image:
    """The first views, a row each: depth, each refiner's regions, the exact masks."""
    rows = [_row(list(refiners), view) for view in views[:SHOWN]]
    sheet = Image.new("RGB", (len(rows[0]) * (SIZE + 4) - 4, len(rows) * (SIZE + 4) - 4), "white")
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            sheet.paste(picture, (across * (SIZE + 4), down * (SIZE + 4)))
    return sheet


def _row(refiners: Sequence[RegionRefiner], view: View) -> list[Image.Image]:
    boxes = tuple(instance.box for instance in view.layout.instances)
    exact = tuple(view.ids == index for index in range(len(boxes)))
    regions = [refiner.refine(view.layout, view.depth) for refiner in refiners]
    drawn = [one.to_image() for one in (*regions, Regions(boxes, exact, SIZE, SIZE))]
    return [view.depth.to_image(), *drawn]
