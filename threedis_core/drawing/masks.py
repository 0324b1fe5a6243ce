"""Draw the masks of a layout's instances: their pixels tinted, and a line along their edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from threedis_core.values.layout import Instance
from threedis_core.values.palette import Color

MOST_PIXELS = 2048
"""Of a mask's longer side: a drawing is not larger."""
TINT, EDGE = 96, 255
HALF = 128


@dataclass(frozen=True, eq=False)
class MaskShape:
    """The part of a mask that holds its set pixels.

    Args:
        pixels: Shape (rows, columns), True inside.
        place: Where the part is, (left, top, right, bottom) in fractions of the picture.
    """

    pixels: NDArray[np.bool_]
    place: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Of the part, as a share of the picture."""
        left, top, right, bottom = self.place
        return (right - left) * (bottom - top)


def mask_shape(instance: Instance) -> MaskShape | None:
    """The shape of an instance's mask; None if it has none."""
    if instance.mask is None:
        return None
    mask = instance.mask.decode()
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = mask[top:bottom, left:right]
    every = -(-max(part.shape) // MOST_PIXELS)  # a large one is thinned out
    place = (left / width, top / height, right / width, bottom / height)
    return MaskShape(part[::every, ::every].copy(), place)


def draw_mask(canvas: Image.Image, shape: MaskShape, color: Color, line: float) -> None:
    """Draw a mask into ``canvas``.

    Args:
        canvas: RGB picture of the whole layout.
        shape: The mask.
        color: RGB, 0 to 255.
        line: How broad the line along its edge is, in pixels of the canvas.
    """
    left, top = round(shape.place[0] * canvas.width), round(shape.place[1] * canvas.height)
    right, bottom = round(shape.place[2] * canvas.width), round(shape.place[3] * canvas.height)
    size = max(1, right - left), max(1, bottom - top)
    grown = Image.fromarray(shape.pixels).convert("L").resize(size, Image.Resampling.BILINEAR)
    # A margin, so that a mask that fills its part has an edge there, too.
    margin = max(1, round(line))
    padded = Image.new("L", (size[0] + 2 * margin, size[1] + 2 * margin), 0)
    filled = np.where(np.asarray(grown) >= HALF, 255, 0).astype(np.uint8)
    padded.paste(Image.fromarray(filled), (margin, margin))
    deep = padded.filter(ImageFilter.BoxBlur(margin))
    inner, inside = np.asarray(deep) == 255, np.asarray(padded) > 0
    opacity = np.where(inner, TINT, EDGE) * inside
    picture = Image.fromarray(opacity.astype(np.uint8))
    canvas.paste(color, (left - margin, top - margin), picture)
