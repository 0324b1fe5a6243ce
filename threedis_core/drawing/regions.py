"""Draw regions: a colour for each instance, and its name upon it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from threedis_core.drawing.labels import Rectangle, draw_label, place_labels
from threedis_core.drawing.layout import LARGEST_SIDE, SMALLEST_SIDE, SUPERSAMPLING
from threedis_core.values.layout import Layout
from threedis_core.values.palette import instance_color
from threedis_core.values.regions import Regions


def draw_named_regions(
    regions: Regions, layout: Layout, scale: float = 1.0, numbered: bool = False
) -> Image.Image:
    """Draw each instance's region in its colour, mixed where they overlap, with its prompt.

    Args:
        regions: What to draw.
        layout: Whose instances they belong to.
        scale: Size of the letters, relative; more than 1 where the drawing will be shrunk.
        numbered: Write each instance's number in the layout instead of its prompt.
    Returns:
        An RGB picture whose longer side is 512 to 2048 pixels: a small one is enlarged by a whole
        factor, without new colours.
    """
    picture = regions.to_image()
    longer = max(picture.size)
    times = -(-SMALLEST_SIDE // longer)
    if times > 1:
        size = (times * picture.width, times * picture.height)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    if longer > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    size = picture.size
    large = (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1])
    canvas = picture.resize(large, Image.Resampling.NEAREST)
    unit = scale * max(large) / SMALLEST_SIDE
    rectangles = [_rectangle(regions, index, large) for index in range(len(regions))]
    for index, label in place_labels(layout, rectangles, large, unit, numbered).items():
        draw_label(canvas, label, instance_color(index), unit)
    return canvas.resize(size, Image.Resampling.BOX)


def _rectangle(regions: Regions, index: int, size: tuple[int, int]) -> Rectangle:
    """What stands around a region, in pixels of a picture of ``size`` (width, height)."""
    box, mask = regions.boxes[index].xyxy, regions.masks[index]
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = mask.shape
        box = (
            float(columns[0]) / width,
            float(rows[0]) / height,
            float(columns[-1] + 1) / width,
            float(rows[-1] + 1) / height,
        )
    return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]
