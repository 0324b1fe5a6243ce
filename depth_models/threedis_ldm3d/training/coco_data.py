"""Training data in COCO's format: a folder of pictures, annotations, and captions beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from threedis_core.errors import DataError, LayoutError
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DATASET_BYTES
from threedis_core.formats.coco_records import (
    Record,
    category_names,
    category_of,
    image_size,
    joined,
    read_box,
    records,
)
from threedis_core.values.layout import Instance, Layout
from threedis_core.values.problems import shown
from threedis_ldm3d.training.example import (
    BadExample,
    BadExampleError,
    Example,
    FoundExamples,
    check_there,
)


class CocoData(BaseModel):
    """COCO pictures with their annotations; depth is estimated from the pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["coco"] = Field(description="coco: COCO's format.")
    images: Path = Field(description="Folder of the pictures.")
    annotations: Path = Field(description="File of the annotations: instances_*.json.")
    captions: Path | None = Field(
        default=None,
        description="File of the captions: captions_*.json; null: the names of what is in a "
        "picture are its caption.",
    )
    least_area: float = Field(
        default=0.02, ge=0, le=1, description="Share of the picture below which a box is left out."
    )
    most_instances: int = Field(
        default=7, ge=1, le=29, description="The largest so many boxes of a picture are taken."
    )


def read_coco_data(data: CocoData) -> FoundExamples:
    """Read every picture's annotations; a picture with a wrong one is counted and skipped.

    Crowd annotations are left out.

    Raises:
        DataError: A file is missing or is no COCO file.
    """
    with _named(data.annotations):
        document = read_document(data.annotations, DataError, MAX_DATASET_BYTES)
        images = records(document, "images")
        annotations = _by_image(records(document, "annotations"))
        names = category_names(records(document, "categories"))
    captions = None if data.captions is None else _captions(data.captions)
    examples: dict[str, Example] = {}
    bad: list[BadExample] = []
    for image in images:
        number = image.get("id")
        name = shown(number)
        try:
            if type(number) is not int or name in examples:
                raise BadExampleError("wrong id", f"{name}; expected a number of its own")
            instances = _instances(data, image, annotations.get(number, ()), names)
            caption = _caption(instances, captions, number)
            examples[name] = _example(data, image, caption, instances)
        except BadExampleError as problem:
            bad.append(problem.named(name))
    return FoundExamples(tuple(examples.values()), tuple(bad))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file that is no COCO file."""
    try:
        yield
    except LayoutError as error:
        raise DataError(f"{path}: {error}") from None


def _by_image(annotations: Sequence[Record]) -> dict[int, list[Record]]:
    """The annotations of objects of each picture, crowds left out."""
    grouped: dict[int, list[Record]] = {}
    for record in annotations:
        if _has_image(record) and "caption" not in record and not record.get("iscrowd"):
            grouped.setdefault(record["image_id"], []).append(record)
    return grouped


def _captions(path: Path) -> dict[int, Any]:
    """The first caption of each picture."""
    with _named(path):
        found = records(read_document(path, DataError, MAX_DATASET_BYTES), "annotations")
    first: dict[int, Any] = {}
    for record in found:
        if _has_image(record) and "caption" in record:
            first.setdefault(record["image_id"], record["caption"])
    return first


def _has_image(record: Record) -> bool:
    return type(record.get("image_id")) is int


def _instances(
    data: CocoData, image: Record, annotations: Sequence[Record], names: Mapping[int | str, Any]
) -> list[Instance]:
    """The largest instances of a picture, in the order of its annotations."""
    try:
        size = image_size(image)
    except LayoutError as error:
        raise BadExampleError("wrong picture size", str(error)) from None
    instances = [_instance(record, names, size) for record in annotations]
    large = [one for one in instances if one.box.area >= data.least_area]
    largest = sorted(range(len(large)), key=lambda place: large[place].box.area, reverse=True)
    return [large[place] for place in sorted(largest[: data.most_instances])]


def _instance(record: Record, names: Mapping[int | str, Any], size: tuple[int, int]) -> Instance:
    kind = "box outside the picture"
    try:
        box = read_box(record.get("bbox"), size)
        kind = "wrong category"
        name = category_of(record, names)
        return Instance(prompt=name, label=name, box=box)
    except LayoutError as error:
        where = f"annotation {shown(record.get('id'))}"
        raise BadExampleError(kind, f"{where}: {error}") from None


def _caption(instances: Sequence[Instance], captions: Mapping[int, Any] | None, number: int) -> str:
    if captions is None:
        if not instances:
            raise BadExampleError("nothing to say", "it has neither a caption nor large boxes")
        return joined(instance.prompt for instance in instances)
    if number not in captions:
        raise BadExampleError("missing caption", "the captions' file has none for it")
    caption = captions[number]
    if not isinstance(caption, str) or not caption.strip():
        raise BadExampleError("empty caption", f"its caption is {shown(caption)}")
    return caption


def _example(data: CocoData, image: Record, caption: str, instances: Sequence[Instance]) -> Example:
    file = image.get("file_name")
    if not isinstance(file, str) or not file:
        raise BadExampleError("missing image", f"file_name is {shown(file)}; expected a name")
    name, (width, height) = str(image["id"]), image_size(image)
    try:
        layout = Layout(
            id=name, prompt=caption, width=width, height=height, instances=tuple(instances)
        )
    except LayoutError as error:
        raise BadExampleError("wrong caption", str(error)) from None
    return Example(name, check_there(data.images / file, "image"), None, layout)
