"""The records of a COCO annotation file, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import index as whole
from typing import Any, SupportsIndex, cast

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_SIDE
from threedis_core.values.layout import Box
from threedis_core.values.problems import shown

Record = Mapping[str, Any]


def checked_id(image_id: object) -> int:
    """The id of a picture, which is a whole number.

    Raises:
        LayoutError: Something else, such as a text.
    """
    if isinstance(image_id, bool) or not isinstance(image_id, SupportsIndex):
        raise LayoutError(
            f"image_id is {shown(image_id)}; expected a whole number, such as 7",
            code="wrong-value",
            path="image_id",
        )
    return whole(image_id)


def only_of(image_id: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What to keep of a file's objects to know one picture: of other pictures' annotations nothing.

    A file of a data set has a million of them; all at once would take many times its size.
    """
    nothing: dict[str, Any] = {}

    def kept(record: dict[str, Any]) -> dict[str, Any]:
        other = is_annotation(record) and record.get("image_id") != image_id
        return nothing if other else record

    return kept


def without_segmentation(record: dict[str, Any]) -> dict[str, Any]:
    """What to keep of a file's objects where boxes are enough: most of its size is polygons."""
    if is_annotation(record):
        record.pop("segmentation", None)
    return record


def is_annotation(record: Record) -> bool:
    """True for an entry of a COCO file's ``annotations``, by its fields."""
    return "image_id" in record and ("category_id" in record or "caption" in record)


def records(document: Any, name: str, hint: str = "") -> Sequence[Record]:
    """The list ``name`` of a COCO file, every entry a mapping.

    Args:
        document: What the file says.
        name: Which list.
        hint: What to do if there is none, to add to the message.

    Raises:
        LayoutError: There is no such list.
    """
    found = cast("Record", document).get(name) if isinstance(document, Mapping) else None
    if not isinstance(found, list):
        raise LayoutError(f"no list '{name}'; expected a COCO annotation file{hint}")
    for index, record in enumerate(cast("list[Any]", found)):
        if not isinstance(record, Mapping):
            raise LayoutError(f"{name}[{index}]: got {shown(record)}; expected an object")
    return cast("list[Record]", found)


def category_names(categories: Sequence[Record]) -> dict[int | str, Any]:
    """What the file says each category is called, by its id.

    Raises:
        LayoutError: An id is neither a whole number nor text.
    """
    names: dict[int | str, Any] = {}
    for index, category in enumerate(categories):
        found = category.get("id")
        if not isinstance(found, int | str):
            raise LayoutError(
                f"categories[{index}]: id {shown(found)}; expected a whole number or text"
            )
        names[found] = category.get("name")
    return names


def category_of(record: Record, names: Mapping[int | str, Any]) -> str:
    """The name of an annotation's category.

    Raises:
        LayoutError: It has none.
    """
    category = record.get("category_id")
    if not isinstance(category, int | str) or not isinstance(names.get(category), str):
        raise LayoutError(f"category_id {shown(category)} is not in 'categories'")
    return names[category]


def image_size(image: Record) -> tuple[int, int]:
    """(width, height) of a picture, in pixels.

    Raises:
        LayoutError: They are missing or out of range.
    """
    width, height = image.get("width"), image.get("height")
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height)):
        raise LayoutError(
            f"picture {image.get('id')}: width {shown(width)}, height {shown(height)}; "
            f"expected whole numbers of pixels from 1 to {MAX_SIDE}"
        )
    return cast("tuple[int, int]", (width, height))


def read_box(bbox: Any, size: tuple[int, int]) -> Box:
    """A box [x, y, width, height] in pixels as fractions of the picture, cut at its edges.

    Args:
        bbox: What the file says.
        size: (width, height) of the picture in pixels.
    Raises:
        LayoutError: Not four numbers, or nothing of it lies inside the picture.
    """
    if not are_numbers(bbox) or len(bbox) != 4:
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


def joined(names: Iterable[str]) -> str:
    """A caption from the names of what is in a picture, each once: "dog, frisbee"."""
    return ", ".join(dict.fromkeys(names))


def are_numbers(values: Any) -> bool:
    """True for a list of finite numbers of a size that a picture can have."""
    return isinstance(values, list) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e9
        and math.isfinite(value)
        for value in cast("list[Any]", values)
    )
