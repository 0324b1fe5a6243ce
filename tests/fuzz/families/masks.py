"""Masks: pictures of every mode, damaged and too large, run-length codes, and odd paths."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from cases import DONE, DONE_OR_REFUSED, REFUSED, Case, Family
from PIL import Image

from families.layouts import actions, make_odd
from families.materials import (
    ODD_NAMES,
    PNG_START,
    Raw,
    chunk,
    damaged,
    depth_png,
    install_fakes,
    picture_file,
    png,
    raw_png,
    written,
)

SIDE = 16
BOX = [0, 0, 1, 1]
Content = tuple[str, bytes, frozenset[int]]


def _case(
    random: Random,
    name: str,
    mask: Any,
    codes: frozenset[int],
    files: Callable[[Path], None],
    suffix: str = ".json",
) -> Case:
    """A layout with one instance that has ``mask``."""
    file = f"scene{suffix}"
    arguments, outputs, is_json = actions(random, file)
    codes = codes if arguments[:2] == ("layout", "check") else codes | REFUSED

    def prepare(work: Path) -> None:
        (work / "depth.png").write_bytes(depth_png())
        install_fakes(work)
        instance = {"prompt": "a red cube", "box": BOX, "mask": mask}
        text = written({"prompt": "a cube", "instances": [instance]})
        (work / file).write_bytes(text.encode("utf-8", "surrogatepass"))
        files(work)

    return Case(name, arguments, codes, prepare, outputs, is_json, plugins=True)


def _picture_case(content: Callable[[Random], Content]) -> Callable[[Random], Case]:
    def recipe(random: Random) -> Case:
        name, data, codes = content(random)

        def files(work: Path) -> None:
            (work / "mask.png").write_bytes(data)

        return _case(random, name, "mask.png", codes, files)

    return recipe


def square(mode: str = "L") -> Image.Image:
    """A bright square on black."""
    picture = Image.new("L", (SIDE, SIDE))
    picture.paste(255, (4, 4, 12, 12))
    return picture.convert(mode)


def _modes(random: Random) -> Content:
    mode = random.choice(("1", "L", "P", "RGB", "LA", "RGBA", "PA", "I;16", "I"))
    if mode == "I;16" or mode == "I":
        values = np.zeros((SIDE, SIDE), np.uint16)
        values[4:12, 4:12] = random.choice((1, 255, 65535))
        picture = Image.fromarray(values)
    elif mode == "PA":
        picture = square("P")
        picture.info["transparency"] = 0
        return "palette with transparency", png(picture, transparency=0), REFUSED
    else:
        picture = square(mode)
    if mode in ("LA", "RGBA") and random.random() < 0.5:
        picture.putalpha(random.choice((0, 100, 254)))
        return f"mode {mode}, transparent", png(picture), REFUSED
    return f"mode {mode}", png(picture), DONE


def _odd_pictures(random: Random) -> Content:
    black = Image.new("L", (SIDE, SIDE))
    pictures: dict[str, Callable[[], tuple[bytes, frozenset[int]]]] = {
        "all black": lambda: (png(black), REFUSED),
        "all white": lambda: (png(Image.new("L", (SIDE, SIDE), 255)), DONE),
        "one pixel": lambda: (png(Image.new("1", (1, 1), 1)), DONE),
        "a line": lambda: (png(Image.new("1", (16384, 1), 1)), DONE),
        "too wide": lambda: (png(Image.new("1", (16385, 1), 1)), REFUSED),
        "all of one grey": lambda: (png(Image.new("L", (SIDE, SIDE), 1)), DONE),
        "APNG": lambda: (png(square(), save_all=True, append_images=[black]), DONE_OR_REFUSED),
        "JPEG inside": lambda: (picture_file(square(), "JPEG"), REFUSED),
        "GIF inside": lambda: (picture_file(square(), "GIF"), REFUSED),
        "WebP inside": lambda: (picture_file(square(), "WEBP"), REFUSED),
        "PPM inside": lambda: (picture_file(square(), "PPM"), REFUSED),
        "EPS inside": lambda: (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", REFUSED),
        "ICO inside": lambda: (picture_file(square("RGBA"), "ICO"), REFUSED),
        "interlaced grey": lambda: (_interlaced(), DONE_OR_REFUSED),
        "escape codes in notes": lambda: (_with_text(b"\x1b[31m" * 50), DONE),
        "a million notes": lambda: (_with_text(b"a" * 900_000), DONE_OR_REFUSED),
        "a note's bomb": lambda: (_note_bomb(), DONE_OR_REFUSED),
        "EXIF rubbish": lambda: (_extra(b"eXIf", random.randbytes(200)), DONE_OR_REFUSED),
        "ICC rubbish": lambda: (_extra(b"iCCP", b"a\0\0" + random.randbytes(90)), DONE_OR_REFUSED),
        "two headers": lambda: (_extra(b"IHDR", b"\0\0\0\x40" * 2 + bytes(5)), DONE_OR_REFUSED),
        "a tRNS chunk": lambda: (_extra(b"tRNS", b"\0\0"), DONE_OR_REFUSED),
        "a long tRNS chunk": lambda: (_extra(b"tRNS", bytes(900)), DONE_OR_REFUSED),
    }  # fmt: skip
    name = random.choice(list(pictures))
    data, codes = pictures[name]()
    return name, data, codes


def _interlaced() -> bytes:
    body = png(square())
    return body[:28] + b"\1" + body[29:]


def _extra(kind: bytes, data: bytes) -> bytes:
    body = png(square())
    return body[:33] + chunk(kind, data) + body[33:]


def _with_text(text: bytes) -> bytes:
    return _extra(b"tEXt", b"note\0" + text)


def _note_bomb() -> bytes:
    import zlib

    return _extra(b"zTXt", b"note\0\0" + zlib.compress(bytes(200_000_000), 9))


def _bombs(random: Random) -> Content:
    sizes = ((0, 0), (0, 9), (16385, 16385), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (2**31, 1),
             (8193, 8192), (16384, 16384), (16384, 4096), (8192, 8192))  # fmt: skip
    width, height = random.choice(sizes)
    depth, colour = random.choice(
        ((1, 0), (8, 0), (16, 0), (8, 2), (8, 6), (16, 6), (8, 3), (3, 9))
    )
    pixels = bytes(random.choice((0, 1, 1000, 3_000_000)))
    return (
        f"a header of {width}x{height}, {depth} bits of kind {colour}",
        raw_png(width, height, depth, colour, pixels),
        REFUSED,
    )


def _checkerboards(random: Random) -> Case:
    """Many short runs: the longest codes that a picture can have."""
    side = random.choice((1, 2, 64, 64, 500, 500, 2048, 4096, 8192))
    step = random.choice((1, 2, 64))

    def files(work: Path) -> None:
        (work / "mask.png").write_bytes(board(side, step))

    name = f"a checkerboard of {side}, {step} a field"
    case = _case(random, name, "mask.png", DONE_OR_REFUSED, files)
    return replace(case, heavy=side > 1000)


@cache
def board(side: int, step: int) -> bytes:
    """A checkerboard, PNG."""
    places = np.arange(side, dtype=np.uint16) // step % 2 == 1
    pixels = places[:, None] ^ places[None, :]
    return png(Image.fromarray(pixels if pixels.any() else ~pixels))


def _damaged_pictures(random: Random) -> Content:
    modes = random.choice(("1", "L", "RGB", "P", "RGBA"))
    data = damaged(png(square(modes)), random)
    return f"a damaged picture of mode {modes}", data, DONE_OR_REFUSED


def _rubbish(random: Random) -> Content:
    contents = (
        b"", b"\0", PNG_START, PNG_START + random.randbytes(100), random.randbytes(1000),
        bytes(1000),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG_START + chunk(b"IEND", b""),
        b"GIF89a" + random.randbytes(50), b"\x80\x04K\x05.", b"II*\0" + random.randbytes(60),
    )  # fmt: skip
    return "no picture", random.choice(contents), REFUSED


def _codes(random: Random) -> Case:
    size = [4, 4]
    wrong: tuple[Any, ...] = (
        {"size": size, "counts": []}, {"size": size, "counts": [16]},
        {"size": size, "counts": [17, 0]},
        {"size": size, "counts": [-1, 17]}, {"size": size, "counts": [8, 8.0]},
        {"size": size, "counts": [8, True, 7]}, {"size": size, "counts": [0, Raw("9" * 5000)]},
        {"size": size, "counts": [0, 2**63, -(2**63)]}, {"size": size, "counts": ["8", "8"]},
        {"size": size, "counts": [None]}, {"size": size, "counts": [[8], [8]]},
        {"size": [0, 4], "counts": [0]}, {"size": [4], "counts": [8, 8]},
        {"size": [16385, 1], "counts": [0, 16385]}, {"size": [16384, 16384], "counts": [0, 2**28]},
        {"size": [4.0, 4], "counts": [8, 8]}, {"size": ["4", "4"], "counts": [8, 8]},
        {"size": size, "counts": ""}, {"size": size, "counts": "0" * 100_000},
        {"size": size, "counts": "\x1b[31m"}, {"size": size, "counts": "~~~"},
        {"size": size, "counts": "o" * 40}, {"size": size, "counts": "ü"},
        {"size": size, "counts": Raw('"\\ud800"')},
        {"size": size, "counts": [0] * 300_000}, {"size": size, "counts": "0" * 2_000_000},
        {"size": size, "counts": "O" * 1_000_000}, {"size": size, "counts": {"0": 16}},
        {"size": size, "counts": [8, 8], "counts ": 1}, {"counts": [8, 8]}, {"size": size},
        {"size": size, "counts": [0, Raw("NaN")]}, {"size": [Raw("9" * 5000), 4], "counts": [8, 8]},
        {"size": [Raw("0x10"), 4], "counts": [8, 8]}, {"size": size, "counts": 5},
    )  # fmt: skip
    if random.random() < 0.75:
        mask = random.choice(wrong)
        name = repr(mask)
        shown = f"a code {name[:60]}" + (f"... ({len(name)} letters)" if len(name) > 60 else "")
        return _case(random, shown, mask, REFUSED, lambda work: None)
    alphabet = "".join(map(chr, range(48, 112)))
    text = "".join(random.choices(alphabet, k=random.choice((1, 3, 10, 2000))))
    mask = {"size": [random.randrange(1, 40), random.randrange(1, 40)], "counts": text}
    return _case(random, "a random code", mask, DONE_OR_REFUSED, lambda work: None)


def _many_runs(random: Random) -> Case:
    side = random.choice((200, 1000, 2000))
    ones = [1] * (side * side)
    counts: Any = ones if random.random() < 0.5 else "1" * 3 + "0" * (side * side - 3)
    mask = {"size": [side, side], "counts": counts}
    suffix = random.choice((".json", ".yaml"))
    name = f"{side * side} runs in {suffix}"
    case = _case(random, name, mask, DONE_OR_REFUSED, lambda work: None, suffix)
    return replace(case, heavy=side > 1000)


def _paths(random: Random) -> Case:
    data = png(square())
    wrong = (
        "~nosuchuser/mask.png", "~/mask.png", "/etc/passwd", "/dev/zero", "/dev/stdin",
        "/proc/self/mem",
        "../../../../../../etc/passwd", "../nope.png", ".", "..", "/", "", " ", "\n", "a\0b.png",
        "mask.png/x", "a" * 300 + ".png", ("a/" * 3000) + "b.png",
        "file:///etc/passwd",
        "https://example.com/mask.png", "\\\\server\\mask.png", "C:\\mask.png", "$HOME/mask.png",
        "fifo.png", "loop.png", "folder.png", "dangling.png", "socket.png", "//", "mask.PNG ",
        "\x1b[31mmask.png", "nope\nmask.png", "/proc/self/environ", "/proc/kcore",
        "/sys/power/state",
    )  # fmt: skip
    right = (
        "mask.png",
        "mask.png/",
        "./mask.png",
        "../work/mask.png",
        "inner/../mask.png",
        "link.png",
        "mask",
    )
    is_wrong = random.random() < 0.8
    path = random.choice(wrong if is_wrong else right)

    def files(work: Path) -> None:
        (work / "mask.png").write_bytes(data)
        (work / "mask").write_bytes(data)
        (work / "inner").mkdir()
        (work / "link.png").symlink_to("mask.png")
        for way in ("fifo", "loop", "folder", "dangling", "socket"):
            make_odd(work / f"{way}.png", way)

    codes = REFUSED if is_wrong else DONE
    return _case(random, f"at {path[:50]!r}", path, codes, files)


def _names(random: Random) -> Case:
    name = random.choice(ODD_NAMES) + ".png"
    is_bad = random.random() < 0.6
    data = b"no picture" if is_bad else png(square())

    def files(work: Path) -> None:
        (work / name).write_bytes(data)

    shown = name[:40].encode(errors="backslashreplace").decode()
    codes = REFUSED if is_bad else DONE_OR_REFUSED
    mask = Raw(json.dumps(os.fsdecode(os.fsencode(name))))
    return _case(random, f"named {shown!r}, {'bad' if is_bad else 'good'}", mask, codes, files)


RECIPES = (
    _picture_case(_modes),
    _picture_case(_odd_pictures),
    _picture_case(_bombs),
    _checkerboards,
    _picture_case(_damaged_pictures),
    _picture_case(_rubbish),
    _codes,
    _many_runs,
    _paths,
    _names,
)
FAMILY = Family("masks", RECIPES, share=16, in_tests=50)
