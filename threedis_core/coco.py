"""Read one picture of a COCO annotation file as a layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from threedis_core.documents import read_document
from threedis_core.errors import LayoutError
from threedis_core.layout import Box, Instance, Layout
from threedis_core.layout_problems import shown
from threedis_core.limits import MAX_DATASET_BYTES, MAX_PIXELS, MAX_SIDE
from threedis_core.mask import Mask

Record = Mapping[str, Any]


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
        image = _find_image(_records(document, "images"), image_id)
        size = _image_size(image)
        annotations = [
            record
            for record in _records(document, "annotations")
            if _same_id(record.get("image_id"), image_id)
        ]
        names = _category_names(_records(document, "categories"))
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


def _records(document: Any, name: str) -> Sequence[Record]:
    records = cast("Record", document).get(name) if isinstance(document, Mapping) else None
    if not isinstance(records, list):
        raise LayoutError(
            f"no list '{name}'; expected a COCO annotation file "
            "(if it is a layout file, leave --image-id out)"
        )
    for index, record in enumerate(cast("list[Any]", records)):
        if not isinstance(record, Mapping):
            raise LayoutError(f"{name}[{index}]: got {shown(record)}; expected an object")
    return cast("list[Record]", records)


def _category_names(categories: Sequence[Record]) -> dict[int | str, Any]:
    names: dict[int | str, Any] = {}
    for index, category in enumerate(categories):
        found = category.get("id")
        if not isinstance(found, int | str):
            raise LayoutError(
                f"categories[{index}]: id {shown(found)}; expected a whole number or text"
            )
        names[found] = category.get("name")
    return names


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


def _image_size(image: Record) -> tuple[int, int]:
    width, height = image.get("width"), image.get("height")
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height)):
        raise LayoutError(
            f"picture {image.get('id')}: width {shown(width)}, height {shown(height)}; "
            f"expected whole numbers of pixels from 1 to {MAX_SIDE}"
        )
    return cast("tuple[int, int]", (width, height))


def _instance(record: Record, names: Mapping[Any, Any], size: tuple[int, int]) -> Instance:
    where = f"annotation {shown(record.get('id'))}"
    category = record.get("category_id")
    if not isinstance(category, int | str) or not isinstance(names.get(category), str):
        raise LayoutError(f"{where}: category_id {shown(category)} is not in 'categories'")
    name: str = names[category]
    try:
        box = _box(record.get("bbox"), size)
        mask = _mask(record.get("segmentation"), size)
        return Instance(prompt=name, label=name, box=box, mask=mask)
    except LayoutError as error:
        raise LayoutError(f"{where} ({shown(name)}): {error}") from None


def _box(bbox: Any, size: tuple[int, int]) -> Box:
    if not _are_numbers(bbox) or len(bbox) != 4:
        raise LayoutError(f"bbox is {shown(bbox)}; expected four numbers [x, y, width, height]")
    x, y, box_width, box_height = cast("Sequence[float]", bbox)
    width, height = size
    x0, x1 = max(x / width, 0.0), min((x + box_width) / width, 1.0)
    y0, y1 = max(y / height, 0.0), min((y + box_height) / height, 1.0)
    if not (x0 < x1 and y0 < y1):
        raise LayoutError(
            f"bbox is {shown(bbox)}; expected a positive width and height, and some of it inside "
            f"the picture of {width}x{height} pixels"
        )
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


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
        if not _are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
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
    return ", ".join(dict.fromkeys(instance.prompt for instance in instances))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e9
        and math.isfinite(value)
        for value in cast("list[Any]", values)
    )
