"""Places to write to: taken, odd, read-only, full; two runs at once; a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from cases import ANY, DONE, DONE_OR_REFUSED, REFUSED, REFUSED_OR_FAILED, Case, Family, Surroundings

from families.layouts import make_odd
from families.materials import ODD_NAMES, scene

WRITERS: dict[str, tuple[tuple[str, ...], str]] = {
    "render": (("render", "scene.json", "--depth", "depth.png", "--renderer", "fake", "--out"), ""),
    "draw": (("layout", "draw", "scene.json", "--out"), ".png"),
    "depth": (("depth", "generate", "scene.json", "--model", "fake-depth", "--out"), ".png"),
}
"""Commands that write, and how the name that they write to must end."""
TAKEN = ("file", "folder", "full folder", "device", "fifo", "loop", "dangling", "socket", "link",
"folder link",
         "full device", "hard link")  # fmt: skip
WHERE_NULL_IS = os.makedev(1, 3)


def _writer(random: Random) -> tuple[str, tuple[str, ...], str]:
    name = random.choice(list(WRITERS))
    return (name, *WRITERS[name])


def _take(path: Path, way: str) -> None:
    """Put something at ``path``, which must be there afterwards as it was."""
    if way == "file":
        path.write_text("mine")
    elif way == "full folder":
        path.mkdir()
        (path / "mine").write_text("mine")
    elif way in ("device", "full device"):
        try:
            os.mknod(path, 0o666 | 0o020000, WHERE_NULL_IS if way == "device" else os.makedev(1, 7))
        except PermissionError:  # not the superuser: nothing to put in danger
            path.symlink_to("/dev/null")
    elif way in ("link", "hard link"):
        path.with_name("mine").write_text("mine")
        path.symlink_to("mine") if way == "link" else path.hardlink_to(path.with_name("mine"))
    elif way == "folder link":
        path.with_name("mine").mkdir()
        path.symlink_to("mine")
    else:
        make_odd(path, way)


def _taken(random: Random) -> Case:
    """What may be replaced is a file, by the commands that write one; a link leads to its file."""
    writer, arguments, suffix = _writer(random)
    way = random.choice(TAKEN)
    inside = random.random() < 0.3
    out = f"new{suffix}" if not inside else f"new/inner{suffix}"

    def prepare(work: Path) -> None:
        scene(work)
        _take(work / ("new" if inside else out), way)

    writes = (way in ("file", "link", "hard link", "dangling") and writer != "render") or (
        way in ("folder", "folder link") and writer == "render"
    )
    outputs = (f"new{suffix}", "mine", "nowhere") if not inside and writes else ()
    if inside and way in ("folder", "full folder", "folder link"):
        outputs = ("new/inner", "mine/inner")
    if inside and way == "dangling":
        outputs = ("nowhere",)
    return Case(
        f"{writer} to {out}, a {way}", (*arguments, out), ANY, prepare, outputs, plugins=True
    )  # fmt: skip


def _names(random: Random) -> Case:
    writer, arguments, suffix = _writer(random)
    name = random.choice(
        (
            *ODD_NAMES, "x" * 251, "x" * 255, "x" * 256, "x" * 5000, "ü" * 127, "a/" * 2100 + "b",
            "", ".", "..", "/",
            "//", " ", "a\0b", "nope/a/b/c", "scene.json", "scene.json/x", "./x", "x/", "x/.",
            "x/../y", "/proc/x",
            "/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/sys/x",
            "~/x", "-",
        )
    )  # fmt: skip
    out = name if name.startswith("/") or random.random() < 0.2 else name + suffix
    first = name.split("/")[0] if "/" in name else name
    outputs = ("x", "y") if first in (".", "x") else (first or out,)
    outputs = () if name != "./x" and first in ("scene.json", ".", "..", "/", "") else outputs
    if not first and out == suffix:
        outputs = (suffix,)
    shown = out[:40].encode(errors="backslashreplace").decode()
    return Case(
        f"{writer} to {shown!r}", (*arguments[:-1], f"--out={out}"), DONE_OR_REFUSED, scene,
        (*outputs, out or "-"),
        plugins=True,
    )  # fmt: skip


def _no_rights(random: Random) -> Case:
    writer, arguments, suffix = _writer(random)
    way = random.choice(
        ("read-only folder", "no entry", "work", "sticky file", "unreadable layout")
    )
    out = {"work": f"new{suffix}", "sticky file": f"new{suffix}"}.get(way, f"locked/new{suffix}")

    def prepare(work: Path) -> None:
        scene(work)
        (work / "locked").mkdir()
        if way == "sticky file":
            (work / out).write_text("mine")
            (work / out).chmod(0o400)
        if way == "unreadable layout":
            (work / "scene.json").chmod(0o000)
        modes = {"read-only folder": 0o500, "no entry": 0o000, "sticky file": 0o500}
        (work / "locked").chmod(modes.get(way, 0o700))
        if way == "work":
            work.chmod(0o500)

    codes = ANY if way == "sticky file" else REFUSED_OR_FAILED
    outputs = (out,) if way == "sticky file" else ()
    return Case(
        f"{writer}, {way}", (*arguments, out), codes, prepare, outputs,
        plugins=True, surroundings=Surroundings(unprivileged=True),
    )  # fmt: skip


def _full_disk(random: Random) -> Case:
    writer, arguments, suffix = _writer(random)
    most = random.choice((0, 1, 50, 100, 200, 500, 1000, 3000))
    out = f"new{suffix}"
    cached = ("--no-depth-cache",) if writer == "depth" and random.random() < 0.5 else ()
    return Case(
        f"{writer}, {most} bytes a file", (*arguments, out, *cached), ANY, scene, (out,),
        plugins=True,
        fresh=random.random() < 0.1, keeps_part=True, surroundings=Surroundings(most_bytes=most),
    )  # fmt: skip


def _together(random: Random) -> Case:
    """Several of one command at once: the first wins, the others say so; nothing is mixed."""
    writer, arguments, suffix = _writer(random)
    count = random.choice((2, 3, 4))
    out = f"new{suffix}"
    return Case(
        f"{count} x {writer}", (*arguments, out), ANY if writer == "render" else DONE, scene,
        (out,),
        plugins=True, keeps_part=True, surroundings=Surroundings(together=count),
    )  # fmt: skip


def _together_by_default(random: Random) -> Case:
    arguments = ("render", "scene.json", "--depth", "depth.png", "--renderer", "fake")
    count = random.choice((2, 3, 4))
    return Case(
        f"{count} x render without --out", arguments, DONE, scene, ("runs",),
        plugins=True, surroundings=Surroundings(together=count),
    )  # fmt: skip


def _killed(random: Random) -> Case:
    """Nothing half under a final name."""
    writer, arguments, suffix = _writer(random)
    out = f"new{suffix}"
    after = random.uniform(0.01, 0.25)
    seeds = tuple(part for seed in range(5) for part in ("--seed", str(seed)))
    many = (*seeds, "--batch-size", "1") if writer == "render" else ()
    size = ("--width", "256", "--height", "256") if writer == "render" else ()
    return Case(
        f"{writer}, killed after {after:.3f} s", (*arguments, out, *many, *size), DONE, scene,
        (out,), plugins=True,
        surroundings=Surroundings(killed_after=after),
    )  # fmt: skip


def _default_names(random: Random) -> Case:
    """Without --out the name comes from the layout's, and what is there may be in the way."""
    command = random.choice(
        (("layout", "draw"), ("depth", "generate", "--model", "fake-depth"), ("render", "--depth",
        "depth.png",
         "--renderer", "fake"))
    )  # fmt: skip
    name = random.choice(ODD_NAMES)[:200]
    way = random.choice(("nothing", "runs is a file", "runs is a link", "runs is a fifo", "taken"))

    def prepare(work: Path) -> None:
        scene(work)
        (work / f"{name}.json").write_text((work / "scene.json").read_text())
        if way == "runs is a file":
            (work / "runs").write_text("mine")
        elif way == "runs is a link":
            (work / "runs").symlink_to("nowhere")
        elif way == "runs is a fifo":
            os.mkfifo(work / "runs")
        elif way == "taken":
            for kind in ("layout", "depth"):
                (work / f"{name}-{kind}.png").mkdir()

    shown = name[:40].encode(errors="backslashreplace").decode()
    outputs = (f"{name}-layout.png", f"{name}-depth.png", "runs", "nowhere")
    arguments = (*command, "--", f"{name}.json")
    return Case(
        f"{command[0]} of {shown!r}, {way}", arguments, DONE_OR_REFUSED, prepare, outputs,
        plugins=True
    )  # fmt: skip


def _onto_itself(random: Random) -> Case:
    """The depth that is read, or the layout, is where the result would go."""
    writer = random.choice(("draw", "depth", "estimate"))
    commands = {
        "draw": ("layout", "draw", "scene.png", "--out", "scene.png"),
        "depth": ("depth", "generate", "scene.png", "--model", "fake-depth", "--out", "scene.png"),
        "estimate": ("depth", "estimate", "depth.png", "--out", "./depth.png"),
    }

    def prepare(work: Path) -> None:
        scene(work)
        (work / "scene.png").write_text((work / "scene.json").read_text())

    codes = REFUSED if writer != "draw" else DONE_OR_REFUSED
    case = Case(f"{writer} onto itself", commands[writer], codes, prepare, plugins=True)
    return replace(case, outputs=("scene.png",)) if writer == "draw" else case


RECIPES: tuple[Callable[[Random], Case], ...] = (
    _taken, _taken, _names, _names, _no_rights, _full_disk, _together, _together_by_default,
    _killed, _killed,
    _default_names, _onto_itself,
)  # fmt: skip
FAMILY = Family("filesystems", RECIPES, share=10, in_tests=36)
