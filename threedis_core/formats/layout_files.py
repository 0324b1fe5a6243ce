"""Read a layout from any of the formats we know: our own, COCO annotations, COCO-MIG."""

from __future__ import annotations

from pathlib import Path

from threedis_core.errors import LayoutError
from threedis_core.files.printable import printable
from threedis_core.formats.coco import read_coco
from threedis_core.formats.coco_mig import read_coco_mig
from threedis_core.formats.coco_records import checked_id
from threedis_core.values.layout import Layout

SOME = 5
"""Ids to name of a file that has many."""


def read_layout(path: str | Path, image_id: int | None = None) -> Layout:
    """Read one layout.

    Args:
        path: A layout file of ours; or, with ``image_id``, COCO annotations (JSON) or COCO-MIG
            layouts (YAML).
        image_id: The picture's id in the file: ``id`` in COCO annotations, ``coco_id`` in a
            COCO-MIG file. If the first layout of a COCO-MIG file has none, the layout's place
            (0, 1, ...).
    Raises:
        LayoutError: One line that names the file and what is wrong with it.
    """
    path = Path(path)
    if image_id is None:
        return Layout.load(path)
    if path.suffix.lower() == ".json":
        return read_coco(path, image_id)
    return _one_of_many(path, checked_id(image_id))


def _one_of_many(path: Path, image_id: int) -> Layout:
    ids: list[str | None] = []
    for layout in read_coco_mig(path):
        ids.append(layout.id)
        found = str(len(ids) - 1) if ids[0] is None else layout.id
        if found == str(image_id):
            return layout
    count = f"it has {len(ids)} layout{'' if len(ids) == 1 else 's'}"
    if ids and ids[0] is not None:
        some = ", ".join(printable(one or "none", 40) for one in ids[:SOME])
        told = f"no layout with coco_id {image_id}; {count}, with ids such as {some}"
    else:
        told = f"no layout number {image_id}; {count} without ids, the first one is number 0"
    raise LayoutError(
        f"{printable(path)}: {told}", code="image-id-unknown", file=path, path="image_id"
    )
