"""Regions: which pixels, or which tokens, belong to which instance.

N = number of instances; H, W = height and width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_MASK_PIXELS, MAX_REGION_NUMBERS, check_size
from threedis_core.values.box_rounding import box_pixels, box_tokens
from threedis_core.values.frozen import frozen
from threedis_core.values.layout import Box, Layout
from threedis_core.values.region_picture import draw_regions

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
        LayoutError: Not one mask entry per box, a mask of another size, a size out of range, or
            more pixels in all masks together than fit the memory.
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
        check_size(self.width, self.height, LayoutError, "regions of")
        _check_numbers(
            sum(mask is not None for mask in self.masks), self.height, self.width, MAX_MASK_PIXELS
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
        return frozen(mask, np.bool_)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def from_layout(cls, layout: Layout, width: int, height: int) -> Regions:
        """The regions that a layout names: masks where it has them, else boxes.

        Masks of another size than ``width`` x ``height`` pixels are resized (nearest pixel).

        Raises:
            LayoutError: A size out of range, or more pixels in all masks than fit the memory.
        """
        check_size(width, height, LayoutError, "regions of")
        masks = [instance.mask for instance in layout.instances]
        _check_numbers(sum(m is not None for m in masks), height, width, MAX_MASK_PIXELS)
        # Frozen one by one: copies of all of them at once would take the memory twice.
        pixels = tuple(
            None if mask is None else _read_only(nearest(mask.decode(), height, width))
            for mask in masks
        )
        return cls(tuple(instance.box for instance in layout.instances), pixels, height, width)

    def pixel_masks(self, height: int, width: int) -> NDArray[np.float32]:
        """Masks for the U-Net family, 1 inside and 0 outside, shape (N, height, width).

        A box has its ``box_pixels``. A mask is resized to the nearest pixel.

        Raises:
            LayoutError: A size out of range, or more numbers than fit the memory.
        """
        check_size(width, height, LayoutError, "regions of")
        _check_numbers(len(self), height, width, MAX_REGION_NUMBERS)
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
        pixels[box_pixels(box, height, width)] = True
        return pixels

    def token_masks(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Masks for the joint-attention family on a token grid, shape (N, rows, columns).

        A box has its ``box_tokens``. A mask covers the tokens where its bilinear resize is not
        zero. Every region has at least one token.

        Raises:
            LayoutError: A size out of range, or more values than fit the memory.

        Source:
            3DIS-FLUX (arXiv 2501.05131); that a thin mask keeps a token is ours.
        """
        check_size(columns, rows, LayoutError, "regions of")
        _check_numbers(len(self), rows, columns, MAX_REGION_NUMBERS)
        result = np.zeros((len(self), rows, columns), dtype=np.bool_)
        for target, box, mask in zip(result, self.boxes, self.masks, strict=True):
            if mask is None:
                target[box_tokens(box, rows, columns)] = True
            else:
                target[:] = _bilinear_nonzero(mask, rows, columns)
        return result

    def to_image(self) -> Image.Image:
        """An RGB picture of the regions, one colour each, mixed where they overlap."""
        regions = [
            box_pixels(box, self.height, self.width) if mask is None else mask
            for box, mask in zip(self.boxes, self.masks, strict=True)
        ]
        return draw_regions(regions, self.height, self.width)


def _check_numbers(count: int, height: int, width: int, most: int) -> None:
    if count * height * width > most:
        raise LayoutError(
            f"{count} regions of {width}x{height} are {count * height * width} values together; "
            f"expected at most {most}: make the masks or the picture smaller"
        )


def _read_only(mask: PixelMask) -> PixelMask:
    mask.setflags(write=False)
    return mask


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
