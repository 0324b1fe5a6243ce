"""Run configs: odd values for every field, in files and on the command line; odd settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from cases import DONE_OR_REFUSED, REFUSED, Case, Family

from families.layouts import DIGITS, HEX
from families.materials import Raw, damaged, scene, written

NUMBERS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 7.0, 64, 65, 2**31, 2**32, 2**63, 2**64, -(2**63), 16384,
    16385,
    10**30, DIGITS, HEX, Raw("NaN"), Raw("-Infinity"), 1e308, "7", "", "a", [], [1], {}, {"a": 1},
)  # fmt: skip
PATHS: tuple[Any, ...] = (
    None, True, 5, "", " ", ".", "..", "/", "nope", "nope/nope", "a\0b", "a" * 5000, "a/" * 3000,
    "~nosuchuser/x", "/dev/null", "/dev/zero", "\x1b[31mred", "a\nb", Raw('"\\udcff"'),
    Raw('"\\ud800"'), [], ["scene.json"], {}, DIGITS, "/proc/self/mem", "scene.json", "depth.png",
    "site", "http://example.com/a", "$HOME", "/etc/passwd", "/proc/self/cwd/run", "con",
)  # fmt: skip
CHOICES: tuple[Any, ...] = (
    None, True, 5, "", "nope", "fake", "boxes", "fake-depth", "depth-edges", "pale", "sd15", [],
    ["boxes"],
    {}, {"name": "boxes"}, {"name": None}, {"name": "boxes", "options": None},
    {"name": "boxes", "options": {"nope": 1}}, {"name": "boxes", "more": 1}, {"options": {}},
    {"name": ["boxes"]}, {"name": "a" * 20_000},
    {"name": "\x1b[31m"}, {"name": "fake-depth", "options": 5},
    {"name": "fake-depth", "options": {"noise": "much"}},
    {"name": "fake-depth", "options": {"noise": Raw("NaN")}},
    {"name": Raw('"\\ud800"')}, {"name": "depth-edges", "options": {"": 1}},
)  # fmt: skip
RENDERERS: tuple[Any, ...] = (
    None, True, 5, "", "nope", "fake", [], ["fake", "fake"], ["fake", "fake2", "pale"], [None],
    [5], [[]],
    {"fake": None}, {"fake": 5}, {"fake": "x"}, {"fake": []}, {"fake": {"tint": 2}},
    {"fake": {"tint": Raw("NaN")}},
    {"fake": {"steps": DIGITS}}, {"fake": {"steps": 0}}, {"fake": {"nope": 1}},
    {"fake": {"tint": {"a": 1}}},
    {"fake@": {}}, {"fake@a": {}, "fake@b": {}}, {"@a": {}}, {"fake@../../x": {}}, {"fake@A": {}},
    {"fake@" + "a" * 65: {}}, {"fake@a@b": {}}, {"fake/../x": {}}, {"": {}},
    {"\x1b[31m": {}}, {"a" * 20_000: {}},
    {"fake.x": {}}, {"boxes": {}}, {"fake-depth": {}}, {f"fake@l{n}": {} for n in range(300)},
    {f"x{n}": {} for n in range(5000)}, {"fake@\u0661": {}}, {"fake@a\n": {}},
    {Raw('"\\ud800"'): {}},
    {"fake": {"max_instances": 1}}, {"fake": {"max_instances": -1}},
    {"fake": {"max_instances": DIGITS}},
)  # fmt: skip
SEEDS: tuple[Any, ...] = (
    None, True, 5, "", "0", [], [0, 0], [-1], [2**32], [2**63], [2**64], [DIGITS], [1.0], [1.5],
    ["1"], [None],
    [True], [True, 1], [[0]], {"0": 0}, list(range(40)), [Raw("NaN")], [Raw("0x10")],
)  # fmt: skip
FIELDS: dict[str, tuple[Any, ...]] = {
    "layout": PATHS,
    "image_id": NUMBERS,
    "depth": PATHS,
    "depth_model": CHOICES,
    "depth_seed": NUMBERS,
    "depth_cache": NUMBERS,
    "region_refiner": CHOICES,
    "renderers": RENDERERS,
    "seeds": SEEDS,
    "width": NUMBERS,
    "height": NUMBERS,
    "batch_size": NUMBERS,
    "out": PATHS,
}
SETTINGS = (
    "", "=", "==", "a", "a=", "=1", ".=1", "..=1", "fake.=1", ".steps=1", "fake.steps",
    "fake.steps=", "steps=1",
    "fake.steps=0", "fake.steps=-1", "fake.steps=1.5", "fake.steps=" + "9" * 5000,
    "fake.steps=0x" + "f" * 5000,
    "fake.steps=NaN", "fake.tint=.nan", "fake.tint=.inf", "fake.tint=1e999", "fake.tint=null",
    "fake.tint=[1]",
    "fake.tint={a: 1}", "fake.tint=&a 1",
    "fake.tint=!!python/object/apply:os.system ['touch ../executed']",
    "fake.tint={", "fake.tint=[" + "[" * 3000, "fake.tint=\x1b[31m", "fake.\x1b[31m=1",
    "\x1b[31m.tint=1",
    "nope.steps=1", "fak.steps=1", "boxes.a=1", "fake.nope=1", "fake.stepz=2", "fake.a.b=1",
    "fake@a.steps=1",
    "fake.tint=0.5\nsteps: 3", "fake.tint='", "fake.tint=a: b: c", "fake.tint=\udcff", "\udcff=1",
    "fake.__class__=1",
    "fake.tint=" + "a" * 100_000, "tint=0.5=0.5", " fake.tint = 0.5 ", "fake.tint=0.5 # odd",
    "fake.tint=---",
    "fake.tint=%TAG", "fake.steps=1_0", "fake.steps=010", "fake.steps=1:30", "fake.steps=true",
    "fake.tint=~",
    "fake.max_instances=null", "fake.max_instances=0", "fake.steps=2",
)  # fmt: skip
FLAGS: dict[str, tuple[str, ...]] = {
    "--seed": ("-1", "0", "4294967296", "9" * 400, "1.5", "", "a", "\x1b[31m", "٣", "0x10", "1_000",
    " 1"),
    "--depth-seed": ("-1", "9" * 400, "a", "18446744073709551616"),
    "--width": ("0", "-8", "64", "7", "9" * 400, "16392", "1e3", "nan", ""),
    "--height": ("0", "64", "9" * 30, "a"),
    "--batch-size": ("0", "-1", "1", "9" * 400, "2.0"),
    "--image-id": ("-1", "0", "9" * 400, "a"),
    "--renderer": ("", "nope", "fake@", "fake@a", "@", "fake@../x", "\x1b[31m", "a" * 9000, "sd15 ",
    "boxes", "--"),
    "--region-refiner": ("", "nope", "boxes", "fake", "\x1b[31m", "depth-edges"),
    "--depth-model": ("", "nope", "fake-depth", "fake", "\udcff"),
    "--depth": ("", ".", "nope.png", "\udcff", "\x1b[31m.png", "a" * 5000),
    "--config": ("", ".", "nope.yaml", "scene.json", "depth.png", "\udcff.yaml", "/dev/zero"),
    "--out": ("", ".", "site", "scene.json", "scene.json/x", "\udcff", "\x1b[31m", "a" * 300,
    "~nosuchuser"),
    "--nope": ("",),
    "--sed": ("1",),
    "--\x1b[31m": ("1",),
    "-\udcff": ("1",),
    "stray": ("arguments", "\x1b[31m"),
}  # fmt: skip
MOST_SHOWN = 40


def config() -> dict[str, Any]:
    """A good config."""
    return {
        "layout": "scene.json",
        "depth": "depth.png",
        "renderers": {"fake": {"steps": 1}},
        "out": "run",
    }


def _case(
    random: Random,
    name: str,
    files: Callable[[Path], None],
    arguments: tuple[str, ...],
    codes: frozenset[int] = DONE_OR_REFUSED,
    outputs: tuple[str, ...] = ("run", "again"),
) -> Case:
    is_json = random.random() < 0.3
    json_too = ("--json",) if is_json else ()

    def prepare(work: Path) -> None:
        scene(work)
        files(work)

    return Case(
        name, ("render", *json_too, *arguments), codes, prepare, outputs, is_json, plugins=True
    )


def _file_case(
    random: Random, name: str, document: Any, codes: frozenset[int] = DONE_OR_REFUSED
) -> Case:
    file = random.choice(("run.yaml", "run.json", "run"))
    text = document if isinstance(document, bytes) else written(document).encode()
    out = ("--out", "again") if random.random() < 0.5 else ()

    def files(work: Path) -> None:
        (work / file).write_bytes(text)

    return _case(random, name, files, ("--config", file, *out), codes, ANYWHERE)


ANYWHERE = (
    "run",
    "again",
    "nope",
    "\x1b[31mred",
    "a\nb",
    "$HOME",
    "con",
    "http:",
    "~nosuchuser",
    " ",
)
"""Where the paths in odd configs lead to; they are names like others."""


def _odd_field(random: Random) -> Case:
    data = config()
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        field = random.choice(list(FIELDS))
        data[field] = random.choice(FIELDS[field])
    shown = ", ".join(f"{name}: {repr(value)[:MOST_SHOWN]}" for name, value in data.items())
    return _file_case(random, shown[:120], data)


def _odd_names(random: Random) -> Case:
    data = config()
    name = random.choice(
        ("", "layuot", "Layout", "seed", "steps", "\x1b[31m", "a" * 9000, "__init__",
        "model_config", "out ")
    )  # fmt: skip
    data[name] = 1
    return _file_case(random, f"a field {name[:MOST_SHOWN]!r}", data, REFUSED)


def _odd_document(random: Random) -> Case:
    documents: tuple[Any, ...] = (
        [], {}, None, 5, "text", [config()], {"threedis_run": 1},
        {"threedis_run": 1, "config": None},
        {"threedis_run": 1, "config": []}, {"threedis_run": 99, "config": config()},
        {"threedis_run": None, "config": config() | {"nope": 1}}, {"config": config()}, b"",
        b"\xff\xfe", bytes(99),
        b"{" * 5000, b"a: &a b", b"5: 6", b"layout: scene.json\nlayout: scene.json", b"\x1b[31m: 1",
        b"renderers: {fake: {tint: !!python/name:os.system }}", b"? [a]\n: b", b"[a]: b",
        {"threedis_run": {"config": config()}, "config": config()},
    )  # fmt: skip
    document = random.choice(documents)
    return _file_case(random, f"a document {repr(document)[:MOST_SHOWN]}", document)


def _damaged(random: Random) -> Case:
    return _file_case(random, "damaged", damaged(written(config()).encode(), random))


def _settings(random: Random) -> Case:
    chosen = random.choices(SETTINGS, k=random.choice((1, 1, 2, 3)))
    arguments = ["scene.json", "--depth", "depth.png", "--renderer", "fake", "--out", "run"]
    for text in chosen:
        arguments += ["--set", text]
    shown = [text[:MOST_SHOWN].encode(errors="backslashreplace").decode() for text in chosen]
    return _case(random, f"--set {shown}", lambda work: None, tuple(arguments))


def _flags(random: Random) -> Case:
    arguments = ["scene.json", "--depth", "depth.png", "--renderer", "fake", "--out", "run"]
    shown: list[str] = []
    for _ in range(random.choice((1, 1, 2))):
        flag = random.choice(list(FLAGS))
        value = random.choice(FLAGS[flag])
        if flag in arguments and flag != "--renderer":
            place = arguments.index(flag)
            del arguments[place : place + 2]
        arguments += [flag, value]
        shown.append(f"{flag} {value[:MOST_SHOWN]}".encode(errors="backslashreplace").decode())
    outputs = ("run", "runs", "again", "\x1b[31m", "\udcff", "~nosuchuser", "")
    return _case(random, repr(shown), lambda work: None, tuple(arguments), outputs=outputs)


RECIPES = (
    _odd_field,
    _odd_field,
    _odd_names,
    _odd_document,
    _damaged,
    _settings,
    _settings,
    _flags,
)
FAMILY = Family("configs", RECIPES, share=16, in_tests=48)
