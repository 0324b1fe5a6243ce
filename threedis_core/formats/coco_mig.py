"""Read the layouts of the COCO-MIG benchmark, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from threedis_core.errors import LayoutError, retold
from threedis_core.files.documents import read_text
from threedis_core.files.limits import MAX_DOCUMENT_BYTES
from threedis_core.files.plain_yaml import PlainYamlError, iterate_yaml
from threedis_core.files.printable import printable
from threedis_core.values.layout import Layout
from threedis_core.values.nouns import bare_noun
from threedis_core.values.problems import shown


def read_coco_mig(path: str | Path) -> Iterator[Layout]:
    """Yield one layout per top-level entry of a COCO-MIG YAML file, as it is read.

    An entry's key is the global prompt; under it stand ``coco_id`` and, for every instance phrase
    ("a black apple"), a list of boxes [x0, y0, x1, y1] in fractions of the picture. A phrase
    becomes the prompt of an instance per box, its noun without article and colours ("apple")
    the label, and ``coco_id`` the layout's id.

    Raises:
        LayoutError: One line that names the file, the entry and the instance.
    """
    for found in each_of_coco_mig(path):
        if isinstance(found, LayoutError):
            raise found
        yield found


def each_of_coco_mig(path: str | Path) -> Iterator[Layout | LayoutError]:
    """The same, with an error in the place of an entry that is wrong.

    Raises:
        LayoutError: The file cannot be read.
    """
    text = read_text(path, LayoutError, MAX_DOCUMENT_BYTES)
    try:
        for prompt, entry in iterate_yaml(text):
            try:
                yield _layout(prompt, entry)
            except LayoutError as error:
                yield retold(error, LayoutError, f"{printable(path)}: {error}", file=path)
    except PlainYamlError as error:
        raise LayoutError(
            f"{printable(path)}: {error}", code="file-unreadable", file=path
        ) from None


def _layout(prompt: Any, entry: Any) -> Layout:
    where = f"entry {shown(prompt)}"
    if not isinstance(entry, Mapping):
        if prompt in Layout.model_fields:
            raise LayoutError(
                f"this looks like one layout (it has '{prompt}'), not like a COCO-MIG file of "
                "many; leave --image-id out"
            )
        raise LayoutError(f"{where}: got {shown(entry)}; expected coco_id and instance phrases")
    fields = dict(cast("Mapping[Any, Any]", entry))
    coco_id = fields.pop("coco_id", None)
    instances: list[dict[str, Any]] = []
    for phrase, boxes in fields.items():
        if not isinstance(phrase, str) or not isinstance(boxes, list):
            raise LayoutError(
                f"{where}, {shown(phrase)}: got {shown(boxes)}; "
                "expected a phrase with a list of boxes"
            )
        for box in cast("list[Any]", boxes):
            instances.append({"prompt": phrase, "label": bare_noun(phrase), "box": box})
    data: dict[str, Any] = {"prompt": prompt, "instances": instances}
    if coco_id is not None:
        data["id"] = str(coco_id)
    try:
        return Layout.from_dict(data)
    except LayoutError as error:
        raise retold(error, LayoutError, f"{where}: {error}") from None
