"""The folder of a run: a killed run leaves no half file in it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from threedis_core.atomic import write_atomically
from threedis_core.depth import DepthMap
from threedis_core.draw import draw_layout
from threedis_core.errors import OptionError
from threedis_core.layout import Layout
from threedis_core.regions import Regions

SLUG_LENGTH = 40


def default_run_folder(prompt: str, now: datetime) -> Path:
    """``runs/<timestamp>-<slug of the prompt>``, with a number if that is there already."""
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    name = f"{now:%Y%m%d-%H%M%S}-{slug or 'layout'}"
    folder, number = Path("runs") / name, 2
    while folder.exists():
        folder, number = Path("runs") / f"{name}-{number}", number + 1
    return folder


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that holds something already, or a path that is no folder.

    Raises:
        OptionError: The folder cannot become a run's folder.
    """
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file; expected a folder for the run, choose another")
    if folder.is_dir() and any(folder.iterdir()):
        raise OptionError(f"{folder} is not empty; a run needs a new or an empty folder")


def write_inputs(folder: Path, layout: Layout, depth: DepthMap, regions: Regions) -> None:
    """Make the folder and write what the pictures will be rendered from."""
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
