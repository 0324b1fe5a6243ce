"""What stands in a run's folder, file by file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from threedis_core.drawing.layout import draw_layout
from threedis_core.drawing.regions import draw_named_regions
from threedis_core.files.atomic import write_atomically
from threedis_core.files.png import write_png
from threedis_core.run.folder import PROVENANCE, RUN_JSON, RunFolder
from threedis_core.run.record.sheet import SheetOfRun
from threedis_core.run.result import Run, RunImage
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions

SHEET = "sheet.png"
LETTERS = 1.2
"""Of ``regions.png``, relative: it is shrunk where several runs are shown side by side."""


def write_inputs(folder: RunFolder, layout: Layout, depth: DepthMap, regions: Regions) -> None:
    """Write what the pictures are rendered from; the depth map last, as a sign of all.

    Raises:
        RenderError: A file cannot be written.
    """
    folder.write("layout.json", layout.save)
    drawn = draw_layout(layout, depth.width, depth.height)
    folder.write("layout.png", partial(write_png, image=drawn))
    folder.write(
        "regions.png", partial(write_png, image=draw_named_regions(regions, layout, scale=LETTERS))
    )
    folder.write("depth.png", depth.save)


def write_pictures(folder: RunFolder, images: Sequence[RunImage]) -> list[RunImage]:
    """Write pictures with their provenance in them, all or none; the same with their files.

    Raises:
        RenderError: One cannot be written.
    """
    path = folder.path
    if path is None:
        return list(images)
    names = [picture_name(image.renderer, image.seed, image.control) for image in images]
    folder.write_together(dict(zip(names, map(_saved, images), strict=True)))
    return [replace(image, file=path / name) for image, name in zip(images, names, strict=True)]


def _saved(image: RunImage) -> Callable[[Path], None]:
    texts = {PROVENANCE: json.dumps(image.provenance)}
    return partial(write_png, image=image.image, texts=texts)


def write_sheet(folder: RunFolder, run: Run) -> Path | None:
    """Draw the sheet of a run and write it; where it is, if it was written.

    Raises:
        RenderError: It cannot be written.
    """
    if folder.path is None:
        return None
    return folder.write(SHEET, partial(write_png, image=SheetOfRun.of(run).draw()))


def picture_name(renderer: str, seed: int, control: str) -> str:
    """The name of a picture's file: "sd15-seed0.png", without its controls "sd15-seed0-off.png"."""
    return f"{renderer}-seed{seed}{'' if control == 'on' else '-off'}.png"


def write_record(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Write ``run.json``: first of all, after each batch of pictures, and at the end.

    Raises:
        RenderError: It cannot be written.
    """
    text = json.dumps(record, indent=2) + "\n"
    folder.write(RUN_JSON, partial(write_atomically, data=text.encode()))
