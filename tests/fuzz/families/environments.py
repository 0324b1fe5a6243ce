"""Environments: no home, odd caches, terminals, encodings, closed and full streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from cases import ANY, DONE, Case, Family, Surroundings

from families.materials import scene

COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...], bool], ...] = (
    (("--help",), (), False),
    (("render", "--help"), (), False),
    (("plugins",), (), False),
    (("plugins", "--json"), (), True),
    (("layout", "check", "scene.json"), (), False),
    (("layout", "check", "--json", "ü.json"), (), True),
    (("layout", "draw", "ü.json", "--out", "画.png"), ("画.png",), False),
    (
        ("render", "scene.json", "--depth", "depth.png", "--renderer", "fake", "--out", "run"),
        ("run",),
        False,
    ),
    (
        ("render", "scene.json", "--depth-model", "fake-depth", "--renderer", "fake", "--out",
        "rün", "--json"),
        ("rün",),
        True,
    ),
    (("render", "scene.json", "--depth", "depth.png", "--renderer", "fake"), ("runs",), False),
    (("depth", "generate", "scene.json", "--model", "fake-depth", "--out", "out.png"), ("out.png",),
    False),
)  # fmt: skip
"""Commands that succeed in an ordinary environment, what they write, and whether it is JSON."""
REFUSED_COMMANDS = (
    ("layout", "check", "nope-ü.json"),
    ("render", "画.json", "--renderer", "fake"),
    ("layout", "check", "bad-ü.json"),
    ("render", "scene.json", "--renderer", "fakë"),
    ("nope",),
)
HARMLESS: tuple[dict[str, str | None], ...] = (
    {"HOME": None}, {"HOME": ""}, {"HOME": "/nonexistent"}, {"HOME": "{work}/scene.json"},
    {"HOME": "relative"},
    {"HOME": "\udcff"}, {"USER": None, "LOGNAME": None, "HOME": None},
    {"THREEDIS_CACHE": None, "XDG_CACHE_HOME": "{work}/../cache"},
    {"THREEDIS_CACHE": "{work}/../cache/new/deep"},
    {"TMPDIR": "/nonexistent"}, {"TMPDIR": "{work}/scene.json"}, {"TMPDIR": ""}, {"LC_ALL": "C"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "xx_YY"}, {"LANG": None}, {"PYTHONUTF8": "0", "LC_ALL": "C"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "latin-1:strict"}, {"PYTHONUTF8": "1"}, {"NO_COLOR": "1"},
    {"CLICOLOR": "0"}, {"COLUMNS": "1"}, {"COLUMNS": "0"},
    {"COLUMNS": "-5"}, {"COLUMNS": "a"},
    {"COLUMNS": "100000"}, {"LINES": "0"}, {"TERM": "dumb"}, {"TERM": ""}, {"TERM": None},
    {"TERM": "unknown"},
    {"PYTHONOPTIMIZE": "2"}, {"PYTHONDEVMODE": "1"},
    {"PYTHONWARNINGS": "error::DeprecationWarning:threedis_core"},
    {"PYTHONHASHSEED": "7"}, {"PYTHONUNBUFFERED": "1"}, {"PYTHONSAFEPATH": "1"}, {"PATH": None},
    {"PATH": ""},
    {"OMP_NUM_THREADS": "0"}, {"OMP_NUM_THREADS": "a"}, {"THREEDIS_DEBUG": "0"},
    {"THREEDIS_DEBUG": ""},
    {"TZ": "nope"}, {"TZ": ""}, {"SOURCE_DATE_EPOCH": "a"}, {"CUDA_VISIBLE_DEVICES": "99"},
    {"LD_PRELOAD": None},
    {"TYPER_STANDARD_TRACEBACK": "1"}, {"_TYPER_FORCE_DISABLE_TERMINAL": "1"},
    {"TYPER_USE_RICH": "0"},
)  # fmt: skip
"""A command works all the same in these."""
HARD: tuple[dict[str, str | None], ...] = (
    {"THREEDIS_CACHE": "{work}/scene.json"}, {"THREEDIS_CACHE": "/proc/nope"},
    {"THREEDIS_CACHE": "a" * 5000},
    {"THREEDIS_CACHE": "/dev/null"}, {"THREEDIS_CACHE": None, "HOME": "{work}/scene.json"},
    {"THREEDIS_CACHE": "\udcff"},
    {"THREEDIS_CACHE": None, "XDG_CACHE_HOME": "/dev/null"}, {"THREEDIS_DEBUG": "nope"},
    {"THREEDIS_DEBUG": "\x1b[31m"},
    {"THREEDIS_CACHE": "~nosuchuser"},
    {"THREEDIS_CACHE": "{work}/locked"},
)  # fmt: skip
"""A command may say that it cannot work in these."""


def _prepare(work: Path) -> None:
    scene(work)
    text = (work / "scene.json").read_text()
    (work / "ü.json").write_text(text)
    (work / "bad-ü.json").write_text('{"prompt": "ü\\u0007"}')
    (work / "locked").mkdir(mode=0o500)


def _case(
    random: Random,
    name: str,
    surroundings: Surroundings,
    codes: frozenset[int],
    refused: bool = False,
) -> Case:
    if refused:
        arguments, outputs, is_json = random.choice(REFUSED_COMMANDS), (), False
        codes = codes - {0} | {2}
    else:
        arguments, outputs, is_json = random.choice(COMMANDS)
    if "THREEDIS_CACHE" in surroundings.environment and "fake-depth" in arguments:
        codes = codes | ANY
    outputs = (*outputs, "\udcff", "~nosuchuser")
    return Case(
        f"{' '.join(arguments)[:40]} with {name[:60]}", arguments, codes, _prepare, outputs,
        is_json, plugins=True, fresh=True, surroundings=surroundings, keeps_part=True,
    )  # fmt: skip


def _harmless(random: Random) -> Case:
    environment: dict[str, str | None] = {}
    for _ in range(random.choice((1, 1, 2))):
        environment |= random.choice(HARMLESS)
    return _case(random, str(environment), Surroundings(environment), DONE, random.random() < 0.25)


def _hard(random: Random) -> Case:
    environment = random.choice(HARD)
    unprivileged = random.random() < 0.5
    surroundings = Surroundings(environment, unprivileged=unprivileged)
    return _case(random, f"{environment}, unprivileged: {unprivileged}", surroundings, ANY)


def _streams(random: Random) -> Case:
    """Streams that are closed, full or broken: exit code 0 only if everything was said."""
    stdin = random.choice(("null", "closed"))
    stdout = random.choice(("read", "closed", "full", "broken"))
    environment = random.choice(({}, {}, {"PYTHONUNBUFFERED": "1"}, {"LC_ALL": "C"}))
    surroundings = Surroundings(environment, stdin=stdin, stdout=stdout)
    codes = DONE if stdout == "read" else ANY
    case = _case(random, f"stdin {stdin}, stdout {stdout}", surroundings, codes)
    return _without_json(case) if stdout != "read" else case


def _without_json(case: Case) -> Case:
    return replace(case, is_json=False)


RECIPES: tuple[Callable[[Random], Case], ...] = (_harmless, _harmless, _hard, _streams)
FAMILY = Family("environments", RECIPES, share=4, in_tests=12)
