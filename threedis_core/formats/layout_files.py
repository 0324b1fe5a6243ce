"""Read a layout from any of the formats we know: our own, COCO annotations, COCO-MIG."""

from __future__ import annotations

from pathlib import Path

from threedis_core.errors import LayoutError
from threedis_core.files.printable import printable
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
        return Layout.load(path)
    if path.suffix.lower() == ".json":
        return read_coco(path, image_id)
    count = 0
    for layout in read_coco_mig(path):
        if count == image_id:
            return layout
        count += 1
    raise LayoutError(
        f"{printable(path)}: it has no layout number {image_id}; it has {count}, "
        "the first one is 0",
        code="image-id-unknown",
        file=path,
        path="image_id",
    )
