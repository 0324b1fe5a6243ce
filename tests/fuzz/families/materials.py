"""Good files for odd ones to be made from, and the plugin that needs no model."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from threedis_core.testing import sample_depth, sample_layout

FAKES = """
from threedis_core.plugin.hookspecs import hookimpl

@hookimpl
def threedis_register_renderers(register):
    register("fake", "threedis_core.testing.fakes:FakeRenderer", "No model at all")
    register("fake2", "threedis_core.testing.fakes:FakeRenderer", "The same again")

@hookimpl
def threedis_register_depth_models(register):
    register("fake-depth", "threedis_core.testing.fakes:FakeDepthModel", "Planes")

@hookimpl
def threedis_register_presets(register):
    register("pale", "fake", {"tint": 0.6}, "Hardly tinted")
"""
PNG_START = b"\x89PNG\r\n\x1a\n"
ODD_NAMES = (
    "a b",
    "-x",
    "ü",
    "画像",
    "a\nb",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "\x9b31m",
    "\u202egnp",
    "\udcff\udcfe",
    "'\"",
    "$HOME",
    "~nosuchuser",
    "%s%n",
    "{0}",
    "[red]x",
    "[bold",
    "x" * 250,
    "CON",
    "a\\b",
    "...",
)
"""Names of files that a person, or a machine, may well have; the suffix is added."""


def install(folder: Path, name: str, source: str, version: str = "1.0") -> None:
    """Install a distribution of one module into the site folder ``folder``."""
    module = name.replace("-", "_")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[threedis]\n{name} = {module}\n")


def install_fakes(work: Path) -> None:
    """Install the fake renderers and depth model for a case with plugins."""
    install(work / "site", "threedis-fakes", FAKES)


@cache
def layout_text() -> str:
    """A good layout, JSON."""
    return json.dumps(sample_layout(2).to_dict())


def layout_data() -> dict[str, Any]:
    """A good layout as plain data, new every time."""
    return json.loads(layout_text())


@cache
def depth_png() -> bytes:
    """A good depth map."""
    depth = sample_depth(sample_layout(2), 64, 64)
    return png(Image.fromarray((depth.values * 255).astype("uint8")))


def scene(work: Path, layout: str = "scene.json") -> None:
    """Write a good layout, a good depth map and the fake plugins."""
    (work / layout).write_text(layout_text())
    (work / "depth.png").write_bytes(depth_png())
    install_fakes(work)


@cache
def plain_png(mode: str, width: int, height: int) -> bytes:
    """A picture of one grey, which may be a large one."""
    return png(Image.new(mode, (width, height), 9))


def png(picture: Image.Image, **parameters: Any) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG", **parameters)
    return file.getvalue()


def picture_file(picture: Image.Image, kind: str, **parameters: Any) -> bytes:
    """The picture as a file of the format ``kind``."""
    file = io.BytesIO()
    picture.save(file, format=kind, **parameters)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file, its checksum right."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def raw_png(
    width: int, height: int, depth: int = 8, colour: int = 0, pixels: bytes = b"", *extra: bytes
) -> bytes:
    """A PNG whose header says what it likes; ``pixels`` are compressed into it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join((chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(pixels, 9))))
    return PNG_START + body + chunk(b"IEND", b"")


def damaged(data: bytes, random: Random) -> bytes:
    """``data`` cut off, with bytes changed, doubled, or followed by rubbish."""
    way = random.randrange(5)
    place = random.randrange(1, max(2, len(data)))
    if way == 0:
        return data[:place]
    if way == 1:
        return data[:place] + random.randbytes(8) + data[place + 8 :]
    if way == 2:
        return data[:place] + random.randbytes(random.randrange(1, 200)) + data[place:]
    if way == 3:
        return data + random.randbytes(100)
    changed = bytearray(data)
    for _ in range(random.randrange(1, 20)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


class Raw(str):
    """Text that goes into a document as it is."""

    __slots__ = ()


def written(value: Any) -> str:
    """JSON of ``value`` with the parts that are ``Raw`` as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{key if isinstance(key, Raw) else json.dumps(key)}: {written(item)}"
            for key, item in value.items()
        )
        return "{" + inside + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)
