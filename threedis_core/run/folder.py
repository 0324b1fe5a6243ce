"""The folder of a run: a killed run leaves no half file in it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from threedis_core.drawing.layout import draw_layout
from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions

RUNS = Path("runs")
SLUG_LENGTH = 40


@contextmanager
def default_run_folder(prompt: str, now: datetime) -> Generator[Path]:
    """Make ``runs/<timestamp>-<slug of the prompt>``, with a number if that is there already.

    The folder is made at once, so that no other run takes the same name, and removed again if
    nothing was written into it.

    Raises:
        OptionError: No folder can be made here.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    name = f"{now:%Y%m%d-%H%M%S}-{slug or 'layout'}"
    check_writable(RUNS, folder=True)
    folder = next(filter(_made, _numbered(RUNS / name)))
    try:
        yield folder
    finally:
        with suppress(OSError):  # they hold something: then they stay
            folder.rmdir()
            RUNS.rmdir()


def _numbered(folder: Path) -> Iterator[Path]:
    yield folder
    for number in count(2):
        yield folder.with_name(f"{folder.name}-{number}")


def _made(folder: Path) -> bool:
    """Make the folder; False if there is something of its name."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that holds something already, or one that cannot be made or written.

    Raises:
        OptionError: The folder cannot become a run's folder.
    """
    check_writable(folder, folder=True)
    if folder.is_dir() and any(folder.iterdir()):
        raise OptionError(f"{folder} is not empty; a run needs a new or an empty folder")


def write_inputs(folder: Path, layout: Layout, depth: DepthMap, regions: Regions) -> None:
    """Make the folder and write what the pictures will be rendered from.

    Raises:
        OptionError: Another run has written into the folder meanwhile.
    """
    check_run_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    layout.save(folder / "layout.json")
    write_png(folder / "layout.png", draw_layout(layout, depth.width, depth.height))
    depth.save(folder / "depth.png")
    write_png(folder / "regions.png", regions.to_image())


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document, readable by people."""
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())


def write_png(path: Path, image: Image.Image, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a PNG; ``provenance`` goes into its text chunk ``threedis`` as JSON."""
    text = PngInfo()
    if provenance is not None:
        text.add_text("threedis", json.dumps(provenance))
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=text)
    write_atomically(path, file.getvalue())


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance in a PNG that a run has written.

    Raises:
        OptionError: The picture has none.
    """
    with Image.open(path) as image:
        text = image.info.get("threedis")
    if not isinstance(text, str):
        raise OptionError(f"{path} has no ThreeDIS provenance; it was not written by a run")
    return json.loads(text)
