"""Read all layouts of a file, whichever format it has: one layout, COCO, COCO-MIG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from threedis_core.errors import LayoutError
from threedis_core.files.pictures import check_file
from threedis_core.files.printable import printable
from threedis_core.formats.coco import each_of_coco
from threedis_core.formats.coco_mig import each_of_coco_mig
from threedis_core.values.layout import Layout

HEAD = 4096
"""Bytes of a YAML file that tell which format it has."""


def is_coco_mig(path: Path) -> bool:
    """True for a YAML file whose first entry has a ``coco_id``: one of COCO-MIG's."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return False
    head = path.read_bytes()[:HEAD]
    return b"coco_id" in head


def is_coco(path: Path) -> bool:
    """True for a JSON file that has the lists of COCO annotations."""
    if path.suffix.lower() != ".json":
        return False
    content = path.read_bytes()
    return b'"images"' in content and b'"annotations"' in content


def read_layout_set(
    path: str | Path, image_ids: Sequence[int] | None = None, limit: int | None = None
) -> list[Layout | LayoutError]:
    """Read every layout of a file.

    Args:
        path: One layout, COCO annotations (JSON), or COCO-MIG layouts (YAML).
        image_ids: Which pictures of a file of many, by their ids; None: all.
        limit: At most so many; None: no limit.
    Returns:
        In the file's order, with an error in the place of a layout that is wrong. COCO pictures
        without annotations are left out.
    Raises:
        LayoutError: The file cannot be read, or an id is not in it.
    """
    path = Path(path)
    check_file(path, LayoutError)
    found = list(islice(_each(path, image_ids), limit))
    if image_ids is not None and limit is None and len(found) < len(set(image_ids)):
        there = {one.id for one in found if isinstance(one, Layout)}
        lost = [one for one in image_ids if str(one) not in there]
        raise LayoutError(
            f"{printable(path)}: no picture with id {lost[0]}, or without annotations",
            code="image-id-unknown",
            file=path,
            path="images",
        )
    return found


def _each(path: Path, image_ids: Sequence[int] | None) -> Iterator[Layout | LayoutError]:
    if is_coco_mig(path):
        wanted = None if image_ids is None else {str(one) for one in image_ids}
        for found in each_of_coco_mig(path):
            if wanted is None or isinstance(found, LayoutError) or found.id in wanted:
                yield found
        return
    if is_coco(path):
        wanted_ids = None if image_ids is None else set(image_ids)
        yield from (found for _, found in each_of_coco(path, wanted_ids))
        return
    try:
        yield Layout.load(path)
    except LayoutError as error:
        yield error
