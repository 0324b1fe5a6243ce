"""Read one picture of a COCO annotation file as a layout."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threedis_core.errors import LayoutError, retold
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DATASET_BYTES
from threedis_core.files.printable import printable
from threedis_core.formats.coco_masks import PictureMasks
from threedis_core.formats.coco_records import (
    Record,
    category_names,
    category_of,
    checked_id,
    image_size,
    joined,
    only_of,
    read_box,
    records,
)
from threedis_core.values.layout import Instance, Layout
from threedis_core.values.problems import shown

Found = tuple[int, Layout | LayoutError]
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
    image_id = checked_id(image_id)
    document = read_document(path, LayoutError, MAX_DATASET_BYTES, only_of(image_id))
    with _named(path):
        image = _find_image(records(document, "images", NOT_COCO), image_id)
        annotations = [
            record
            for record in records(document, "annotations", NOT_COCO)
            if _same_id(record.get("image_id"), image_id)
        ]
        return _layout(image, annotations, category_names(records(document, "categories")))


def each_of_coco(path: str | Path, image_ids: Container[int] | None = None) -> Iterator[Found]:
    """Every picture of a COCO file that has annotations, in the file's order, read as one.

    Args:
        path: A COCO JSON file; see ``read_coco``.
        image_ids: Which pictures; None: all.
    Yields:
        A picture's id and its layout, or an error in the place of a wrong one.
    Raises:
        LayoutError: The file cannot be read.
    """
    document = read_document(path, LayoutError, MAX_DATASET_BYTES)
    with _named(path):
        images = records(document, "images", NOT_COCO)
        names = category_names(records(document, "categories", NOT_COCO))
        by_picture: dict[Any, list[Record]] = {}
        for record in records(document, "annotations", NOT_COCO):
            by_picture.setdefault(record.get("image_id"), []).append(record)
    for image in images:
        image_id = image.get("id")
        if type(image_id) is not int or image_id not in by_picture:
            continue
        if image_ids is not None and image_id not in image_ids:
            continue
        try:
            with _named(path):
                yield image_id, _layout(image, by_picture[image_id], names)
        except LayoutError as error:
            yield image_id, error


def _layout(image: Record, annotations: Sequence[Record], names: Mapping[Any, Any]) -> Layout:
    size = image_size(image)
    masks = PictureMasks(*size)
    instances = [
        _instance(record, names, size, masks)
        for record in annotations
        if "caption" not in record and not record.get("iscrowd")
    ]
    return Layout(
        id=str(image["id"]),
        prompt=_prompt(annotations, instances, image["id"]),
        width=size[0],
        height=size[1],
        instances=tuple(instances),
    )


@contextmanager
def _named(path: str | Path) -> Generator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except LayoutError as error:
        raise retold(error, LayoutError, f"{printable(path)}: {error}", file=path) from None


def _find_image(images: Sequence[Record], image_id: int) -> Record:
    for image in images:
        if _same_id(image.get("id"), image_id):
            return image
    some = ", ".join(shown(image.get("id")) for image in images[:5])
    raise LayoutError(
        f"no picture with id {image_id}; the file has {len(images)}, such as {some or 'none'}",
        code="image-id-unknown",
        path="image_id",
    )


def _same_id(found: Any, wanted: int) -> bool:
    return type(found) is int and found == wanted


def _instance(
    record: Record, names: Mapping[Any, Any], size: tuple[int, int], masks: PictureMasks
) -> Instance:
    where = f"annotation {shown(record.get('id'))}"
    try:
        name = category_of(record, names)
    except LayoutError as error:
        raise retold(error, LayoutError, f"{where}: {error}") from None
    try:
        box = read_box(record.get("bbox"), size)
        mask = masks.read(record.get("segmentation"))
        return Instance(prompt=name, label=name, box=box, mask=mask)
    except LayoutError as error:
        raise retold(error, LayoutError, f"{where} ({shown(name)}): {error}") from None


def _prompt(annotations: Sequence[Record], instances: Sequence[Instance], image_id: int) -> str:
    for record in annotations:
        if isinstance(record.get("caption"), str):
            return record["caption"]
    if not instances:
        raise LayoutError(f"picture {image_id} has neither captions nor annotated objects")
    return joined(instance.prompt for instance in instances)
