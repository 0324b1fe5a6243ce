"""Depth maps: arrays of every type, damaged headers, pickles, pictures of odd modes, huge ones."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from cases import DONE, DONE_OR_REFUSED, REFUSED, Case, Family
from PIL import Image

from families.layouts import make_odd
from families.materials import (
    ODD_NAMES,
    damaged,
    depth_png,
    install_fakes,
    layout_text,
    picture_file,
    plain_png,
    raw_png,
)

RENDER = ("render", "scene.json", "--renderer", "fake", "--out", "run")
Content = tuple[str, str, bytes, frozenset[int]]
"""What is odd, the file's suffix, its content, and how a run with it may end."""


class Payload:
    """Unpickling it makes the file that no case may make."""

    def __reduce__(self) -> tuple[Any, ...]:
        code = "import os; open(os.path.join(os.getcwd(), '..', 'executed'), 'w').close()"
        return exec, (code,)


def evil_pickle() -> bytes:
    """A pickle that runs code."""
    return pickle.dumps(Payload())


def npy(array: np.ndarray[Any, Any], allow_pickle: bool = False) -> bytes:
    """The array as an .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def npy_header(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """An .npy file whose header says what it likes."""
    text = header.encode("latin-1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def _arrays(random: Random) -> Content:
    kinds = (
        "?",
        "b",
        "B",
        "h",
        "H",
        "i",
        "I",
        "l",
        "L",
        "e",
        "f",
        "d",
        "g",
        "F",
        "D",
        "S5",
        "U5",
        "M8[s]",
        "m8[s]",
        "V8",
    )
    kind = random.choice(kinds)
    order = random.choice("<>")
    plane = np.linspace(0, 1, 32 * 32).reshape(32, 32)
    if np.dtype(kind).kind in "biuf":
        scale = np.iinfo(kind).max // 2 if np.dtype(kind).kind in "iu" else 1
        array = (plane * float(scale)).astype(kind)
    else:
        array = np.zeros((32, 32), kind)
    array = array.astype(array.dtype.newbyteorder(order))
    good = np.dtype(kind).kind in "bf" or kind in "BH"
    return f"an array of {order}{kind}", ".npy", npy(array), DONE_OR_REFUSED if good else REFUSED


def _values(random: Random) -> Content:
    plane = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    odd: dict[str, Callable[[], Any]] = {
        "NaN": lambda: np.where(plane > 0.5, np.nan, plane),
        "one NaN": lambda: np.where(plane >= 1, np.nan, plane),
        "infinity": lambda: np.where(plane > 0.5, np.inf, plane),
        "negative": lambda: plane - 0.5,
        "above 1": lambda: plane * 10,
        "1e38": lambda: plane * 3e38,
        "double beyond float": lambda: plane.astype(np.float64) * 1e300,
        "denormal": lambda: plane * 1e-40,
        "constant": lambda: np.full((64, 64), 0.5, np.float32),
        "zeros": lambda: np.zeros((64, 64), np.float32),
        "no values": lambda: np.zeros((0, 64), np.float32),
        "a number": lambda: np.float32(0.5),
        "a line": lambda: plane[0],
        "one value": lambda: np.full((1, 1), 0.5, np.float32),
        "one row": lambda: plane[:1],
        "one column": lambda: plane[:, :1],
        "channels": lambda: np.stack([plane] * 3),
        "channels last": lambda: np.stack([plane] * 3, axis=-1),
        "32 axes": lambda: plane.reshape((1,) * 30 + plane.shape),
        "Fortran order": lambda: np.asfortranarray(plane),
        "1 x 16384": lambda: np.zeros((1, 16384), np.float32) + 0.5,
        "1 x 16385": lambda: np.zeros((1, 16385), np.float32) + 0.5,
        "too many": lambda: np.zeros((8193, 8192), np.uint8),
    }
    name = random.choice(list(odd))
    return f"an array: {name}", ".npy", npy(np.asarray(odd[name]())), DONE_OR_REFUSED


def _headers(random: Random) -> Content:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }"
    data = bytes(64)
    odd = {
        "object dtype": npy_header(header.replace("<f4", "|O"), evil_pickle()),
        "a huge shape": npy_header(header.replace("(4, 4)", "(100000, 100000)"), data),
        "a shape beyond all": npy_header(header.replace("(4, 4)", f"({2**62}, {2**62})"), data),
        "5000 digits": npy_header(header.replace("(4, 4)", f"({'9' * 5000}, 4)"), data),
        "a negative shape": npy_header(header.replace("(4, 4)", "(-4, 4)"), data),
        "a text for a shape": npy_header(header.replace("(4, 4)", "'4'"), data),
        "code": npy_header("__import__('os').system('touch ../executed')", data),
        "nested": npy_header("(" * 5000 + ")" * 5000, data, 2),
        "no dict": npy_header("[1, 2]", data),
        "a long header": npy_header(header + " " * 60_000, data),
        "a very long header": npy_header(header + " " * 30_000_000, data, 2),
        "an unknown type": npy_header(header.replace("<f4", "<zz"), data),
        "fields": npy_header(header.replace("'<f4'", "[('a', '<f4'), ('b', '|O')]"), data),
        "an unknown version": npy_header(header, data, 9),
        "no data": npy_header(header),
        "more data": npy_header(header, bytes(10_000)),
        "a zero shape": npy_header(header.replace("(4, 4)", "(0, 4)")),
        "a long length": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + header.encode(),
    }
    name = random.choice(list(odd))
    codes = (
        DONE_OR_REFUSED if name in ("more data", "a long header", "a very long header") else REFUSED
    )
    return f"a header with {name}", ".npy", odd[name], codes


def _pickles(random: Random) -> Content:
    objects = np.array([[Payload(), 1], [2, 3]], dtype=object)
    file = io.BytesIO()
    np.savez(file, depth=np.zeros((4, 4), np.float32))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", bytes(50_000_000))
    odd = {
        "an object array": npy(objects, allow_pickle=True),
        "a pickle": evil_pickle(),
        "an archive": file.getvalue(),
        "a zip bomb": bomb.getvalue(),
        "an old pickle": pickle.dumps(Payload(), protocol=0),
    }
    name = random.choice(list(odd))
    return name, random.choice((".npy", ".png", "", ".npz", ".pt")), odd[name], REFUSED


def _pictures(random: Random) -> Content:
    grey = Image.open(io.BytesIO(depth_png()))
    kind, suffix = random.choice(
        (("PNG", ".png"), ("TIFF", ".tiff"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("BMP", ".bmp"))
    )
    modes = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I", "F", "CMYK", "YCbCr", "LAB", "I;16"),
        "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
        "WEBP": ("L", "RGB", "RGBA"),
        "BMP": ("1", "L", "P", "RGB"),
    }
    mode = random.choice(modes[kind])
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey
    if mode == "LAB":
        picture = Image.new("LAB", grey.size, (128, 128, 128))
    elif mode != "I;16":
        picture = grey.convert(mode) if mode != "YCbCr" else grey.convert("RGB").convert(mode)
    if mode in ("RGBA", "LA") and random.random() < 0.6:
        picture.putalpha(random.choice((0, 1, 254)))
        return f"{kind}, {mode}, transparent", suffix, picture_file(picture, kind), REFUSED
    if mode == "RGB" and random.random() < 0.5:
        wheel = Image.linear_gradient("L").resize(grey.size)
        picture = Image.merge("RGB", (wheel, grey, Image.new("L", grey.size, 255)))
        return f"{kind}, coloured", suffix, picture_file(picture, kind), REFUSED
    if random.random() < 0.2:
        suffix = random.choice((".png", ".npy", ".txt", "", ".jpeg"))
    return f"{kind}, {mode}, named {suffix}", suffix, picture_file(picture, kind), DONE_OR_REFUSED


def _large_pictures(random: Random) -> Content:
    way = random.randrange(6)
    if way == 5:
        ones = np.ones((8192, 8192), np.uint8)
        return "8192 x 8192", ".npy", npy(ones), DONE_OR_REFUSED
    if way == 0:
        side = random.choice((4096, 8192))
        return f"{side} x {side}", ".png", plain_png("L", side, side), DONE_OR_REFUSED
    if way == 1:
        return "8192 x 8192, 16 bits", ".png", plain_png("I;16", 8192, 8192), DONE_OR_REFUSED
    if way == 2:
        return "8192 x 8192, RGBA", ".png", plain_png("RGBA", 8192, 8192), DONE_OR_REFUSED
    if way == 3:
        return "1 x 16384", ".png", plain_png("L", 1, 16384), DONE_OR_REFUSED
    size = random.choice(((60_000, 60_000), (16385, 1), (2**31 - 1, 2), (8193, 8192)))
    return f"a header of {size}", ".png", raw_png(*size, pixels=bytes(1000)), REFUSED


def _frames(random: Random) -> Content:
    grey = Image.open(io.BytesIO(depth_png())).convert("L")
    others = [Image.new("L", grey.size)] * 3
    kind, suffix = random.choice(
        (("PNG", ".png"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("GIF", ".gif"))
    )
    data = picture_file(grey, kind, save_all=True, append_images=others)
    return f"{kind} of several pictures", suffix, data, DONE_OR_REFUSED


def _damaged(random: Random) -> Content:
    grey = Image.open(io.BytesIO(depth_png())).convert("L")
    kind, suffix = random.choice(
        (
            ("PNG", ".png"),
            ("TIFF", ".tiff"),
            ("JPEG", ".jpg"),
            ("WEBP", ".webp"),
            ("BMP", ".bmp"),
            ("NPY", ".npy"),
        )
    )
    data = npy(np.asarray(grey)) if kind == "NPY" else picture_file(grey, kind)
    return f"damaged {kind}", suffix, damaged(data, random), DONE_OR_REFUSED


def _rubbish(random: Random) -> Content:
    data = random.choice(
        (
            b"",
            b"\0",
            bytes(999),
            random.randbytes(999),
            b"\x93NUMPY",
            b"II*\0\x08\0\0\0\xff\xff",
            b"MM\0*",
        )
    )
    return "rubbish", random.choice((".png", ".npy", ".tiff", ".jpg", "", ".exr")), data, REFUSED


def _case_of(content: Callable[[Random], Content], heavy: bool = False) -> Callable[[Random], Case]:
    def recipe(random: Random) -> Case:
        name, suffix, data, codes = content(random)
        file = f"depth{suffix}"

        def prepare(work: Path) -> None:
            (work / "scene.json").write_text(layout_text())
            (work / file).write_bytes(data)
            install_fakes(work)

        json_too = ("--json",) if random.random() < 0.3 else ()
        arguments = (*RENDER, "--depth", file, *json_too)
        return Case(
            f"{file}: {name}",
            arguments,
            codes,
            prepare,
            ("run",),
            bool(json_too),
            plugins=True,
            heavy=heavy,
        )

    return recipe


def _odd_files(random: Random) -> Case:
    way = random.choice(("fifo", "folder", "loop", "missing", "dangling", "socket", "device"))
    name = "/dev/zero" if way == "device" else f"depth{random.choice(('.png', '.npy'))}"

    def prepare(work: Path) -> None:
        (work / "scene.json").write_text(layout_text())
        install_fakes(work)
        make_odd(work / name, way)

    return Case(f"depth is a {way}", (*RENDER, "--depth", name), REFUSED, prepare, plugins=True)


def _odd_names(random: Random) -> Case:
    name = random.choice(ODD_NAMES) + random.choice((".png", ".npy", ""))
    is_bad = random.random() < 0.5
    data = (
        b"rubbish"
        if is_bad
        else npy(np.eye(64, dtype=np.uint8))
        if name.endswith(".npy")
        else depth_png()
    )

    def prepare(work: Path) -> None:
        (work / "scene.json").write_text(layout_text())
        (work / name).write_bytes(data)
        install_fakes(work)

    shown = name[:40].encode(errors="backslashreplace").decode()
    arguments = (*RENDER, f"--depth={name}")
    codes = REFUSED if is_bad else DONE
    return Case(f"depth named {shown!r}", arguments, codes, prepare, ("run",), plugins=True)


RECIPES = (
    _case_of(_arrays),
    _case_of(_values),
    _case_of(_headers),
    _case_of(_pickles),
    _case_of(_pictures),
    _case_of(_large_pictures, heavy=True),
    _case_of(_frames),
    _case_of(_damaged),
    _case_of(_rubbish),
    _odd_files,
    _odd_names,
)
FAMILY = Family("depth", RECIPES, share=14, in_tests=44)
