"""Layout files: fields of the wrong type, documents that are none, sizes beyond all limits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml
from cases import DONE, DONE_OR_REFUSED, REFUSED, Case, Family

from families.materials import (
    ODD_NAMES,
    Raw,
    damaged,
    depth_png,
    install_fakes,
    layout_data,
    layout_text,
    written,
)

Content = Callable[[Random], tuple[str, bytes, frozenset[int]]]
"""What is odd, a file's content, and how reading it may end."""

DIGITS = Raw("9" * 5000)
HEX = Raw("0x" + "f" * 5000)
BLANK = ("", " ", "\n\t", "\u200b")
WRONG_TEXT = (
    *BLANK, None, True, 0, 1.5, [], {}, ["a"], {"a": 1}, "a\u0000b", "\x1b[31m",
    "\x9b", "\ufeffa", "\u2028", "a" * 10_001, DIGITS, Raw("NaN"), Raw("-Infinity"),
    Raw('"\\ud800"'), Raw('"a\\udfffb"'),
)  # fmt: skip
ODD_TEXT = (
    "a", "ü", "画", "a" * 10_000, "%s {0} $HOME", "[bold]x[/bold]", "[/]", "\u202eabc", "<script>",
    "😀" * 500, "a\nb", "null", "0x1", "`rm`", "\\ud800", "e\u0301" * 300, "a\u200bb",
)  # fmt: skip
WRONG_BOX = (
    None, True, 5, "", "0,0,1,1", [], [0, 0, 1], [0, 0, 1, 1, 1], {}, {"x0": 0}, [0, 0, 0, 0],
    [0.5, 0.5, 0.5, 0.9], [0.9, 0.1, 0.1, 0.9], [-0.1, 0, 1, 1], [0, 0, 1.01, 1], [0, 0, 640, 480],
    ["a", 0, 1, 1], [None, 0, 1, 1], [[0], 0, 1, 1], [True, False, True, True],
    [Raw("NaN"), 0, 1, 1], [0, 0, Raw("Infinity"), 1], [0, 0, DIGITS, 1], [0, 0, 1e308, 1],
    [0, 0, Raw("1e999"), 1], list(range(60_000)), {"x0": 0, "y0": 0, "x1": 1, "y1": 1, "z": 1},
)  # fmt: skip
ODD_BOX = (
    [0, 0, 1, 1], [0, 0, 1e-300, 1e-300], [0, 0, 1e-9, 1], [0.999999, 0.999999, 1, 1],
    {"x0": 0, "y0": 0, "x1": 1, "y1": 1}, [Raw("-0.0"), 0, 1, 1], [5e-324, 0, 1, 1],
    ["0", "0", "1", "1"],
)  # fmt: skip
WRONG_SIDE = (
    "64", True, 0, -1, 1.5, 16385, 1e308, [], {}, DIGITS, HEX, Raw("NaN"), Raw("0o100"), "",
)  # fmt: skip
WRONG_ORDER = (True, -1, 1.5, "0", [], {}, 1_000_001, DIGITS, HEX, Raw("NaN"))
WRONG_MASK = (
    True, 0, 1.5, [], {}, "", "nope.png", "/", ".", "\u0000", "a" * 5000, "~nosuchuser/a.png",
    {"size": [4, 4]}, {"counts": [16]}, {"size": 4, "counts": [16]}, {"size": [4, 4], "counts": 16},
    {"size": [4, 4], "counts": [0, 16], "more": 1}, [[0, 1], [1, 0]], DIGITS,
)  # fmt: skip
WRONG_VERSION = (None, True, 0, 2, 1.0, "1", [], {}, DIGITS, Raw("NaN"))
WRONG_LIST = (None, True, 0, "text", {}, {"prompt": "a"}, [None], [[]], ["a"], [{}], DIGITS)
FIELDS: dict[str, tuple[Any, ...]] = {
    "prompt": WRONG_TEXT,
    "negative_prompt": tuple(value for value in WRONG_TEXT if value not in BLANK),
    "id": tuple(value for value in WRONG_TEXT if value not in (None, *BLANK)),
    "version": WRONG_VERSION,
    "width": WRONG_SIDE,
    "height": WRONG_SIDE,
    "instances": WRONG_LIST,
}  # fmt: skip
INSTANCE_FIELDS: dict[str, tuple[Any, ...]] = {
    "prompt": WRONG_TEXT,
    "label": tuple(value for value in WRONG_TEXT if value is not None),
    "box": WRONG_BOX,
    "mask": WRONG_MASK,
    "depth_order": WRONG_ORDER,
}
MISSPELT = (
    "promt", "Prompt", "prompt ", "boxes", "instance", "bbox", "negative-prompt", "", "\x1b[31m",
    "__class__", "a\nb", "k" * 5000, "prömpt", "with", "\u0000",
)  # fmt: skip


def _wrong_field(random: Random) -> tuple[str, bytes, frozenset[int]]:
    data = layout_data()
    field = random.choice(list(FIELDS))
    data[field] = random.choice(FIELDS[field])
    return f"{field} is {_short(data[field])}", _encoded(written(data)), REFUSED


def _wrong_instance_field(random: Random) -> tuple[str, bytes, frozenset[int]]:
    data = layout_data()
    field = random.choice(list(INSTANCE_FIELDS))
    value = random.choice(INSTANCE_FIELDS[field])
    data["instances"][random.randrange(2)][field] = value
    return f"an instance's {field} is {_short(value)}", _encoded(written(data)), REFUSED


def _odd_but_right(random: Random) -> tuple[str, bytes, frozenset[int]]:
    data = layout_data()
    instance = data["instances"][random.randrange(2)]
    way = random.randrange(6)
    if way == 0:
        data[random.choice(("prompt", "negative_prompt", "id"))] = random.choice(ODD_TEXT)
    elif way == 1:
        instance[random.choice(("prompt", "label"))] = random.choice(ODD_TEXT)
    elif way == 2:
        instance["box"] = random.choice(ODD_BOX)
        return f"box {instance['box']}", _encoded(written(data)), DONE_OR_REFUSED
    elif way == 3:
        instance["depth_order"] = random.choice((0, 7, 1_000_000, None))
    elif way == 4:
        size = random.choice(((8, 8), (1, 1), (16384, 1), (8, 512), (24, 40), (7, 9)))
        data["width"], data["height"] = size
        return f"size {size}", _encoded(written(data)), DONE_OR_REFUSED
    else:
        data["instances"] = []
    return "odd, but right", _encoded(written(data)), DONE


def _missing_or_unknown(random: Random) -> tuple[str, bytes, frozenset[int]]:
    data = layout_data()
    owner = data if random.random() < 0.5 else data["instances"][0]
    if random.random() < 0.3:
        gone = "prompt" if owner is data else random.choice(("prompt", "box"))
        del owner[gone]
        return f"{gone} is missing", _encoded(written(data)), REFUSED
    name = random.choice(MISSPELT)
    owner[name] = owner.pop("prompt") if random.random() < 0.5 else 1
    return f"a field {name[:40]!r}", _encoded(written(data)), REFUSED


def _no_document(random: Random) -> tuple[str, bytes, frozenset[int]]:
    contents: dict[str, bytes] = {
        "empty": b"", "blank": b" \n\t\n", "zeros": bytes(1000), "BOM alone": b"\xef\xbb\xbf",
        "UTF-16": layout_text().encode("utf-16"), "UTF-32": layout_text().encode("utf-32"),
        "Latin-1": b'{"prompt": "\xfc"}', "a PNG": depth_png(), "rubbish": random.randbytes(5000),
        "text": b"hello", "number": b"5", "list": b"[]", "null": b"null", "two": b"{}{}",
        "comment": b"# nothing\n", "two documents": b"prompt: a\n---\nprompt: b\n",
        "gzip": b"\x1f\x8b" + bytes(50), "zip": b"PK\x03\x04" + bytes(50),
        "pickle": b"\x80\x04K\x05.",
        "overlong UTF-8": b'{"prompt": "\xc0\x80"}',
        "encoded surrogate": b'{"prompt": "\xed\xa0\x80"}',
        "ESC": b"\x1b[31mprompt: a\x1b[0m\n", "no end": layout_text().encode()[:-20],
        "single quotes": repr(layout_data()).encode()[:-3], "trailing comma": b'{"prompt": "a",',
        "NUL inside": b'{"prompt": "a\x00b"}', "percent": b"%YAML 9.9\n---\nprompt: a",
        "tab": b"prompt: a\n\tbox: 1", "question": b"? [a, b]\n: c", "quoted": b'"prompt: a',
    }  # fmt: skip
    name = random.choice(list(contents))
    return name, contents[name], REFUSED


def _huge(random: Random) -> tuple[str, bytes, frozenset[int]]:
    way = random.randrange(9)
    data = layout_data()
    if way == 0:
        keys = random.choice((60_000, 150_000))
        return f"{keys} keys", written({f"k{n}": n for n in range(keys)}).encode(), REFUSED
    if way == 1:
        depth = random.choice((40, 1000, 100_000, 3_000_000))
        return f"{depth} deep", b"[" * depth + b"]" * depth, REFUSED
    if way == 2:
        depth = random.choice((40, 5000, 200_000))
        return f"{depth} mappings deep", b'{"a":' * depth + b"1" + b"}" * depth, REFUSED
    if way == 3:
        one = {"prompt": "a" * 5000, "box": [0, 0, 1, 1]}
        data["instances"] = [one] * 1000
        return "1000 instances with long prompts", written(data).encode(), DONE_OR_REFUSED
    if way == 4:
        data["instances"] = data["instances"][:1] * random.choice((1001, 50_000))
        return "too many instances", written(data).encode(), REFUSED
    if way == 5:
        return "17 MB", b"prompt: a\n" + b"#" * 17_000_000, REFUSED
    if way == 6:
        return "15 MB of one text", b'{"prompt": "' + b"a" * 15_000_000 + b'"}', REFUSED
    if way == 7:
        twice = b'{"a": 1, ' + b'"a": 1, ' * 60_000 + b'"b": 2}'
        return "60,000 times the same key", twice, REFUSED
    keys = ", ".join(f'"k{n}": 1' for n in range(60_000))
    return "60,000 keys, one twice", ("{" + keys + ', "k59999": 2}').encode(), REFUSED


def _yaml_only(random: Random) -> tuple[str, bytes, frozenset[int]]:
    texts: dict[str, tuple[str, frozenset[int]]] = {
        "anchor": ("prompt: &a b\n", REFUSED),
        "alias": ("prompt: &a b\nid: *a\n", REFUSED),
        "bomb": ("a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(30)), REFUSED),
        "python tag": ("prompt: !!python/object/apply:os.system ['touch ../executed']", REFUSED),
        "new tag": ("prompt: !!python/object/new:os.system ['touch ../executed']", REFUSED),
        "str tag": ("prompt: !!str 5", REFUSED),
        "own tag": ("!layout\nprompt: a", REFUSED),
        "merge": ("<<: {prompt: a}\nid: b", REFUSED),
        "duplicate": ("prompt: a\nprompt: b\n", REFUSED),
        "nested duplicate": ("prompt: a\ninstances: [{prompt: a, prompt: b}]", REFUSED),
        "hex": (f"prompt: a\nwidth: {HEX}\nheight: 8", REFUSED),
        "octal": ("prompt: a\nwidth: 0100\nheight: 64", DONE_OR_REFUSED),
        "sexagesimal": ("prompt: a\nwidth: 1:20\nheight: 80", DONE_OR_REFUSED),
        "underscores": ("prompt: a\nwidth: 6_4\nheight: 64", DONE_OR_REFUSED),
        "a date": ("prompt: 2020-01-01", DONE),
        "norway": ("prompt: no", REFUSED),
        "tilde": ("prompt: ~", REFUSED),
        "list as key": ("[a]: b", REFUSED),
        "null key": ("~: b\nprompt: a", REFUSED),
        "number key": ("5: b\nprompt: a", REFUSED),
        "huge number key": (f"{DIGITS}: b\nprompt: a", REFUSED),
        "nan key": (".nan: b\n.NaN: c\nprompt: a", REFUSED),
        "digits": (f"prompt: {DIGITS}", REFUSED),
        "float digits": (f"prompt: a\nwidth: {DIGITS}.5e{DIGITS}\nheight: 8", REFUSED),
        "infinity": ("prompt: a\nwidth: .inf\nheight: 8", REFUSED),
        "directive": ("%TAG ! tag:example.com,2000:\n---\nprompt: a", DONE_OR_REFUSED),
        "end": ("prompt: a\n...\n", DONE),
        "stray": ("prompt: a\n...\nrest", REFUSED),
        "escape": ('prompt: "\\x1b[31m"', REFUSED),
        "escaped surrogate": ('prompt: "\\ud800"', REFUSED),
        "folded": ("prompt: >\n  a\n  b\n", DONE),
        "binary sign": (f"prompt: a\nwidth: 0b{'1' * 5000}\nheight: 8", REFUSED),
        "sexagesimal bomb": (f"prompt: a\nwidth: {':'.join(['59'] * 2000)}\nheight: 8", REFUSED),
        "long indent": (" " * 500_000 + "prompt: a", DONE_OR_REFUSED),
        "flow depth": ("a: " + "[" * 3000 + "]" * 3000, REFUSED),
        "block depth": ("\n".join(" " * n + "a:" for n in range(1000)), REFUSED),
        "complex keys": ("? " * 2000 + "a", REFUSED),
    }  # fmt: skip
    name = random.choice(list(texts))
    text, codes = texts[name]
    return f"YAML, {name}", text.encode(), codes


def _block_yaml(random: Random) -> tuple[str, bytes, frozenset[int]]:
    data = layout_data()
    data["prompt"] = random.choice(ODD_TEXT)
    text = yaml.safe_dump(data, allow_unicode=random.random() < 0.5)
    return "YAML in blocks", text.encode(), DONE


def _damaged(random: Random) -> tuple[str, bytes, frozenset[int]]:
    content = layout_text().encode() if random.random() < 0.5 else _block_yaml(random)[1]
    return "damaged", damaged(content, random), DONE_OR_REFUSED


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} letters)"


def actions(random: Random, file: str) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Something to do with a layout file: arguments, outputs, and whether they are JSON."""
    json_too = ("--json",) if random.random() < 0.3 else ()
    way = random.choices(("check", "draw", "render", "depth"), (5, 1, 3, 1))[0]
    if way == "check":
        return ("layout", "check", *json_too, "--", file), (), bool(json_too)
    if way == "draw":
        return ("layout", "draw", "--out", "out.png", "--", file), ("out.png",), False
    if way == "depth":
        depth = ("depth", "generate", "--model", "fake-depth", "--out", "out.png", "--", file)
        return depth, ("out.png",), False
    render = ("render", "--depth", "depth.png", "--renderer", "fake", "--out", "run", *json_too)
    return (*render, "--", file), ("run",), bool(json_too)


def _case_of(content: Content, suffixes: tuple[str, ...]) -> Callable[[Random], Case]:
    def recipe(random: Random) -> Case:
        name, data, codes = content(random)
        file = f"scene{random.choice(suffixes)}"
        arguments, outputs, is_json = actions(random, file)
        codes = codes if arguments[:2] == ("layout", "check") else codes | REFUSED

        def prepare(work: Path) -> None:
            (work / file).write_bytes(data)
            (work / "depth.png").write_bytes(depth_png())
            install_fakes(work)

        return Case(
            f"{file}: {name}", arguments, codes, prepare, outputs, is_json, plugins=True
        )  # fmt: skip

    return recipe


def _odd_name(random: Random) -> Case:
    name = random.choice(ODD_NAMES) + random.choice((".json", ".yaml", "", ".JSON", ".txt"))
    is_bad = random.random() < 0.5
    arguments, outputs, is_json = actions(random, name)

    def prepare(work: Path) -> None:
        (work / "depth.png").write_bytes(depth_png())
        install_fakes(work)
        text = json.dumps({"prompt": 5} if is_bad else layout_data())
        (work / name).write_text(text)

    codes = REFUSED if is_bad else DONE_OR_REFUSED
    shown = name[:40].encode(errors="backslashreplace").decode()
    return Case(f"named {shown!r}", arguments, codes, prepare, outputs, is_json, plugins=True)


def _odd_place(random: Random) -> Case:
    """The layout's path names something that is no regular file."""
    way = random.choice(
        ("fifo", "folder", "loop", "missing", "device", "dangling", "socket", "nul")
    )
    paths = {"device": "/dev/zero", "missing": "no/such/file.json", "nul": "a\0b.json"}
    arguments, outputs, is_json = actions(random, paths.get(way, "scene.json"))

    def prepare(work: Path) -> None:
        (work / "depth.png").write_bytes(depth_png())
        install_fakes(work)
        make_odd(work / "scene.json", way)

    return Case(f"a {way}", arguments, REFUSED, prepare, outputs, is_json, plugins=True)


def make_odd(path: Path, way: str) -> None:
    """Make something that is no regular file at ``path``."""
    if way == "fifo":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "loop":
        path.symlink_to(path.name)
    elif way == "dangling":
        path.symlink_to("nowhere")
    elif way == "socket":
        import socket

        here = Path.cwd()
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as found:
            found.bind(path.name)
        os.chdir(here)


JSON = (".json", ".JSON", "", ".txt")
YAML = (".yaml", ".yml", "")
RECIPES = (
    _case_of(_wrong_field, JSON[:1]),
    _case_of(_wrong_instance_field, JSON[:1]),
    _case_of(_odd_but_right, JSON[:1]),
    _case_of(_missing_or_unknown, (*JSON, *YAML)),
    _case_of(_no_document, (*JSON, *YAML)),
    _case_of(_huge, (".json", ".yaml")),
    _case_of(_yaml_only, YAML[:1]),
    _case_of(_block_yaml, YAML),
    _case_of(_damaged, (*JSON, *YAML)),
    _odd_name,
    _odd_place,
)
FAMILY = Family("layouts", RECIPES, share=20, in_tests=66)
