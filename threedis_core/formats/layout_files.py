"""Read a layout from any of the formats we know: our own, COCO annotations, COCO-MIG."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

from threedis_core.errors import LayoutError
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DOCUMENT_BYTES
from threedis_core.files.pictures import check_file
from threedis_core.formats.coco import read_coco
from threedis_core.formats.coco_mig import read_coco_mig
from threedis_core.values.layout import Layout


def read_layout(path: str | Path, image_id: int | None = None) -> Layout:
    """Read one layout.

    Args:
        path: A layout file of ours; or, with ``image_id``, COCO annotations (JSON) or COCO-MIG
            layouts (YAML).
        image_id: The picture's id in the COCO file, or the layout's place (0, 1, ...) in the
            COCO-MIG file.
    Raises:
        LayoutError: One line that names the file and what is wrong with it.
    """
    path = Path(path)
    if image_id is None:
        _refuse_large(path)
        document = read_document(path, LayoutError)
        _refuse_collection(path, document)
        try:
            return Layout.from_dict(document, path.parent)
        except LayoutError as error:
            raise LayoutError(f"{path}: {error}") from None
    if path.suffix.lower() == ".json":
        return read_coco(path, image_id)
    for layout in islice(read_coco_mig(path), image_id, image_id + 1):
        return layout
    raise LayoutError(f"{path}: it has no layout number {image_id}; the first one is 0")


def _refuse_large(path: Path) -> None:
    size = check_file(path, LayoutError)
    if size > MAX_DOCUMENT_BYTES:
        raise LayoutError(
            f"{path}: {size} bytes; expected at most {MAX_DOCUMENT_BYTES} for a layout; if it is "
            "a COCO annotation file, say which picture with --image-id"
        )


def _refuse_collection(path: Path, document: Any) -> None:
    """Say what to do with a file that holds many layouts."""
    if not isinstance(document, Mapping) or not document:
        return
    entries = cast("Mapping[Any, Any]", document)
    first = next(iter(entries.values()))
    if "images" in entries and "annotations" in entries:
        raise LayoutError(
            f"{path}: this is a COCO annotation file; say which picture with --image-id"
        )
    if isinstance(first, Mapping) and "coco_id" in first:
        raise LayoutError(
            f"{path}: this is a COCO-MIG file of {len(entries)} layouts; "
            "say which one with --image-id 0, 1, ..."
        )
