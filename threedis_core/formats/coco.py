"""Read one picture of a COCO annotation file as a layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from threedis_core.errors import LayoutError
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DATASET_BYTES, MAX_PIXELS
from threedis_core.formats.coco_records import (
    Record,
    are_numbers,
    category_names,
    category_of,
    image_size,
    joined,
    read_box,
    records,
)
from threedis_core.values.layout import Instance, Layout
from threedis_core.values.mask import Mask
from threedis_core.values.problems import shown

NOT_COCO = " (if it is a layout file, leave --image-id out)"


def read_coco(path: str | Path, image_id: int) -> Layout:
    """Read the annotations of one picture.

    Category names become labels and prompts; boxes become fractions of the picture and are cut at
    its edges; polygons and run-length codes become masks. Crowd annotations are left out. The
    global prompt is the picture's first caption if the file has captions as well, else the
    names of what is in it.

    Args:
        path: A COCO JSON file with ``images``, ``annotations`` and ``categories``.
        image_id: The ``id`` of the picture in ``images``.
    Raises:
        LayoutError: No such file, picture or category, or a wrong annotation; one line that names
            the annotation.
    """
    document = read_document(path, LayoutError, MAX_DATASET_BYTES)
    try:
        image = _find_image(records(document, "images", NOT_COCO), image_id)
        size = image_size(image)
        annotations = [
            record
            for record in records(document, "annotations", NOT_COCO)
            if _same_id(record.get("image_id"), image_id)
        ]
        names = category_names(records(document, "categories", NOT_COCO))
        instances = [
            _instance(record, names, size)
            for record in annotations
            if "caption" not in record and not record.get("iscrowd")
        ]
        prompt = _prompt(annotations, instances, image_id)
        return Layout(
            id=str(image_id),
            prompt=prompt,
            width=size[0],
            height=size[1],
            instances=tuple(instances),
        )
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from None


def _find_image(images: Sequence[Record], image_id: int) -> Record:
    for image in images:
        if _same_id(image.get("id"), image_id):
            return image
    some = ", ".join(shown(image.get("id")) for image in images[:5])
    raise LayoutError(
        f"no picture with id {image_id}; the file has {len(images)}, such as {some or 'none'}"
    )


def _same_id(found: Any, wanted: int) -> bool:
    return type(found) is int and found == wanted


def _instance(record: Record, names: Mapping[Any, Any], size: tuple[int, int]) -> Instance:
    where = f"annotation {shown(record.get('id'))}"
    try:
        name = category_of(record, names)
    except LayoutError as error:
        raise LayoutError(f"{where}: {error}") from None
    try:
        box = read_box(record.get("bbox"), size)
        mask = _mask(record.get("segmentation"), size)
        return Instance(prompt=name, label=name, box=box, mask=mask)
    except LayoutError as error:
        raise LayoutError(f"{where} ({shown(name)}): {error}") from None


def _mask(segmentation: Any, size: tuple[int, int]) -> Mask | None:
    if not segmentation:
        return None
    if isinstance(segmentation, Mapping):
        try:
            mask = Mask.model_validate(segmentation)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise LayoutError(f"segmentation: {problem}") from None
        if (mask.width, mask.height) != size:
            raise LayoutError(
                f"segmentation is {mask.width}x{mask.height} pixels; expected {size[0]}x{size[1]}"
            )
        return mask
    return _fill_polygons(segmentation, size)


def _fill_polygons(polygons: Any, size: tuple[int, int]) -> Mask | None:
    """Pixels inside any of the polygons; None if they are too thin to hold a pixel."""
    if not isinstance(polygons, list):
        raise LayoutError(f"segmentation is {shown(polygons)}; expected polygons or a code")
    if size[0] * size[1] > MAX_PIXELS:
        raise LayoutError(f"segmentation of a picture above {MAX_PIXELS} pixels; not read")
    pixels = np.zeros((size[1], size[0]), dtype=np.bool_)
    for polygon in cast("list[Any]", polygons):
        if not are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            raise LayoutError(
                f"segmentation has the polygon {shown(polygon)}; expected x, y, x, y, ... of at "
                "least three corners"
            )
        _fill_polygon(pixels, np.array(polygon, dtype=np.float64).reshape(-1, 2).clip(0, size))
    return Mask.encode(pixels) if pixels.any() else None


def _fill_polygon(pixels: NDArray[np.bool_], corners: NDArray[np.float64]) -> None:
    """Set the pixels whose centre is inside; corners (x, y), shape (count, 2).

    Pillow's polygons include their right and lower edge, a pixel more than COCO's.
    """
    start_x, start_y = corners.T
    stop_x, stop_y = np.roll(corners, -1, axis=0).T
    for row in range(int(start_y.min()), min(math.ceil(start_y.max()), pixels.shape[0])):
        middle = row + 0.5
        crossed = (start_y <= middle) != (stop_y <= middle)
        share = (middle - start_y[crossed]) / (stop_y[crossed] - start_y[crossed])
        crossings = np.sort(start_x[crossed] + share * (stop_x[crossed] - start_x[crossed]))
        bounds = np.ceil(crossings - 0.5).astype(np.intp)
        for left, right in zip(bounds[::2], bounds[1::2], strict=True):
            pixels[row, left:right] = True


def _prompt(annotations: Sequence[Record], instances: Sequence[Instance], image_id: int) -> str:
    for record in annotations:
        if isinstance(record.get("caption"), str):
            return record["caption"]
    if not instances:
        raise LayoutError(f"picture {image_id} has neither captions nor annotated objects")
    return joined(instance.prompt for instance in instances)
