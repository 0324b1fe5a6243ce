"""Regions: which pixels, or which tokens, belong to which instance.

N = number of instances; H, W = height and width in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.errors import LayoutError
from threedis_core.values.layout import Box, Layout
from threedis_core.values.palette import instance_color

PixelMask = NDArray[np.bool_]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Regions:
    """One region per instance, in the layout's order.

    Args:
        boxes: The instances' boxes.
        masks: Per instance its pixels, shape (height, width), or None: the box is the region.
        height: Height of the masks and of the picture, in pixels.
        width: Width likewise.
    Raises:
        LayoutError: Not one mask entry per box, or a mask of another size.
    """

    boxes: tuple[Box, ...]
    masks: tuple[PixelMask | None, ...]
    height: int
    width: int

    def __post_init__(self) -> None:
        if len(self.boxes) != len(self.masks):
            raise LayoutError(
                f"regions have {len(self.boxes)} boxes and {len(self.masks)} masks; expected one "
                "mask (or None) per box"
            )
        object.__setattr__(self, "boxes", tuple(self.boxes))
        object.__setattr__(self, "masks", tuple(self._frozen(mask) for mask in self.masks))

    def _frozen(self, mask: PixelMask | None) -> PixelMask | None:
        if mask is None:
            return None
        if mask.shape != (self.height, self.width):
            raise LayoutError(
                f"a region's mask has shape {mask.shape}; expected {(self.height, self.width)}"
            )
        copy = np.array(mask, dtype=np.bool_)
        copy.setflags(write=False)
        return copy

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def from_layout(cls, layout: Layout, width: int, height: int) -> Regions:
        """The regions that a layout names: masks where it has them, else boxes.

        Masks of another size than ``width`` x ``height`` pixels are resized (nearest pixel).
        """
        masks = tuple(
            None if instance.mask is None else nearest(instance.mask.decode(), height, width)
            for instance in layout.instances
        )
        return cls(tuple(instance.box for instance in layout.instances), masks, height, width)

    def pixel_masks(self, height: int, width: int) -> NDArray[np.float32]:
        """Masks for the U-Net family, 1 inside and 0 outside, shape (N, height, width).

        A box covers rows int(y0 * height) to int(y1 * height), columns likewise, so that a box
        below one pixel may be empty. A mask is resized to the nearest pixel.

        Source:
            3DIS (arXiv 2410.12669), published code: the corners are truncated.
        """
        result = np.zeros((len(self), height, width), dtype=np.float32)
        for index in range(len(self)):
            result[index] = self.pixels(index, height, width)
        return result

    def pixels(self, index: int, height: int, width: int) -> PixelMask:
        """Mask number ``index`` of ``pixel_masks``, True inside, shape (height, width)."""
        box, mask = self.boxes[index], self.masks[index]
        if mask is not None:
            return nearest(mask, height, width)
        pixels = np.zeros((height, width), dtype=np.bool_)
        rows = slice(int(box.y0 * height), int(box.y1 * height))
        columns = slice(int(box.x0 * width), int(box.x1 * width))
        pixels[rows, columns] = True
        return pixels

    def token_masks(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Masks for the joint-attention family on a token grid, shape (N, rows, columns).

        A box covers every token that it touches: floor(x0 * columns) to ceil(x1 * columns). A
        mask covers the tokens where its bilinear resize is not zero. Every region has at least
        one token.

        Source:
            3DIS-FLUX (arXiv 2501.05131); that a thin mask keeps a token is ours.
        """
        result = np.zeros((len(self), rows, columns), dtype=np.bool_)
        for target, box, mask in zip(result, self.boxes, self.masks, strict=True):
            if mask is None:
                top, bottom = math.floor(box.y0 * rows), math.ceil(box.y1 * rows)
                left, right = math.floor(box.x0 * columns), math.ceil(box.x1 * columns)
                target[top:bottom, left:right] = True
            else:
                target[:] = _bilinear_nonzero(mask, rows, columns)
        return result

    def to_image(self) -> Image.Image:
        """An RGB picture of the regions, one colour each, mixed where they overlap."""
        shades = np.zeros((self.height, self.width, 3), dtype=np.float32)
        counts = np.zeros((self.height, self.width, 1), dtype=np.float32)
        for index in range(len(self)):  # one mask at a time: all of them may fill the memory
            mask = self.pixels(index, self.height, self.width)
            shades[mask] += np.array(instance_color(index), dtype=np.float32)
            counts[mask] += 1
        background = np.float32(24)
        colours = np.where(counts > 0, shades / np.maximum(counts, 1), background)
        return Image.fromarray(np.rint(colours).astype(np.uint8))


def nearest(values: NDArray[Value], height: int, width: int) -> NDArray[Value]:
    """Resize an array of shape (H, W) to the pixel nearest to each new pixel's centre."""
    if values.shape == (height, width):
        return values
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(np.intp)
    return values[np.ix_(rows, columns)]


def _bilinear_nonzero(mask: PixelMask, rows: int, columns: int) -> PixelMask:
    """Where the bilinear resize (align_corners False, no antialiasing) is above zero."""
    along_rows = _touched(mask, rows)
    tokens = _touched(along_rows.T, columns).T
    if not tokens.any() and mask.any():
        # Bilinear samples only the two pixels at a token's centre; a thin mask falls between.
        row, column = (int(np.median(part)) for part in np.nonzero(mask))
        tokens = tokens.copy()
        tokens[row * rows // mask.shape[0], column * columns // mask.shape[1]] = True
    return tokens


def _touched(mask: PixelMask, size: int) -> PixelMask:
    """Resize the first axis to ``size``: set where a source pixel of positive weight is set."""
    length = mask.shape[0]
    step = np.float32(length / size)
    source = np.maximum(step * (np.arange(size, dtype=np.float32) + np.float32(0.5)) - 0.5, 0)
    first = np.minimum(source.astype(np.intp), length - 1)
    second = np.minimum(first + 1, length - 1)
    between = (source > first)[:, None]
    return mask[first] | (mask[second] & between)
