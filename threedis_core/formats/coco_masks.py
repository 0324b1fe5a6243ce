"""The segmentations of one picture of a COCO file as masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pydantic import ValidationError

from threedis_core.errors import LayoutError
from threedis_core.formats.coco_records import are_numbers
from threedis_core.formats.polygons import Corners, PolygonWork, fill_polygons
from threedis_core.values.masks.layout_masks import MaskTotal
from threedis_core.values.masks.mask import Mask
from threedis_core.values.problems import shown


class PictureMasks:
    """Reads one segmentation after another, and refuses too large ones before any is filled in.

    Args:
        width: Of the picture in pixels.
        height: Of the picture in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._total = MaskTotal()
        self._work = PolygonWork()

    def read(self, segmentation: Any) -> Mask | None:
        """One segmentation as a mask: polygons, or a run-length code.

        Returns:
            None if there is none, or if its polygons are too thin to hold a pixel.
        Raises:
            LayoutError: It is damaged, of another size, or too much together with those before.
        """
        if not segmentation:
            return None
        self._total.add_pixels(self._width * self._height)
        if isinstance(segmentation, list):
            polygons = [self._polygon(one) for one in cast("list[Any]", segmentation)]
            return fill_polygons(polygons, self._width, self._height)
        if isinstance(segmentation, Mapping):
            return self._code(cast("Mapping[Any, Any]", segmentation))
        raise LayoutError(f"segmentation is {shown(segmentation)}; expected polygons or a code")

    def _polygon(self, found: Any) -> Corners:
        """A polygon's corners, cut off at the picture's edges, shape (S, 2)."""
        if not are_numbers(found) or len(found) < 6 or len(found) % 2:
            raise LayoutError(
                f"segmentation has the polygon {shown(found)}; expected x, y, x, y, ... of at "
                "least three corners"
            )
        corners = np.array(found, dtype=np.float64).reshape(-1, 2)
        corners = corners.clip(0, (self._width, self._height))
        self._work.add(corners)
        return corners

    def _code(self, found: Mapping[Any, Any]) -> Mask:
        try:
            mask = Mask.model_validate(found)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise LayoutError(f"segmentation: {problem}") from None
        if (mask.width, mask.height) != (self._width, self._height):
            raise LayoutError(
                f"segmentation is {mask.width}x{mask.height} pixels; "
                f"expected {self._width}x{self._height}"
            )
        return mask
