"""Each rule of the judge finds what it is there for, in a real command that breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from cases import Case, Surroundings
from judge import judge, tree_of
from runner import Place, run_case
from families.materials import install

SOURCE = '''
import os, sys, time
from threedis_core.errors import InputError
from threedis_core.plugin.hookspecs import hookimpl

def odd():
    BODY

@hookimpl
def threedis_register_commands(app, bench):
    app.command("odd")(odd)
'''

def kinds(number, body, options):
    def prepare(work):
        (work / "mine").write_text("mine")
        install(work / "site", "odd-plugin", SOURCE.replace("BODY", body))

    options = {"codes": [0], **options}
    codes = frozenset(options.pop("codes"))
    surroundings = Surroundings(**options.pop("surroundings", {}))
    case = Case(
        "odd", ("odd",), codes, prepare, plugins=True, surroundings=surroundings, **options
    )
    place = Place(Path(sys.argv[2]) / str(number))
    place.make()
    case.prepare(place.work)
    before = tree_of(place)
    return [fault.kind for fault in judge(case, place, run_case(case, place), before)]

for number, (body, options) in enumerate(json.load(sys.stdin)):
    print(json.dumps(kinds(number, body, options)), flush=True)
"""
WAIT = "; time.sleep(60)"
KILLED: Mapping[str, Any] = {"surroundings": {"killed_after": 1.5}, "outputs": ["new"]}
OUTPUTS = {"outputs": ["new"]}
CLEAN: dict[str, Mapping[str, Any]] = {
    "print('done')": {},
    "print('{}')": {"is_json": True},
    "raise InputError('no')": {"codes": [2]},
    "open('new.json', 'w').write('{}')": OUTPUTS,
    f"open('.new.png.part', 'w').close(){WAIT}": KILLED,
}
BROKEN: dict[str, tuple[Mapping[str, Any], str]] = {
    "os.write(2, b'Traceback (most recent call last)')": ({}, "traceback"),
    "x = bytearray(1_300_000_000)": ({}, "memory"),
    "while True: pass": ({"limit_s": 1}, "hang"),
    "raise InputError('no')": ({"codes": [1]}, "exit code"),
    "os.kill(os.getpid(), 9)": ({}, "exit code"),
    "os.chmod('mine', 0); open('mine').close()": (
        {"surroundings": {"unprivileged": True}, "outputs": ["mine"]},
        "exit code",
    ),
    "os.write(1, b'\\x1b[31m')": ({}, "output"),
    "os.write(2, b'a line')": ({}, "output"),
    "print('{]')": ({"is_json": True}, "output"),
    "print('NaN')": ({"is_json": True}, "output"),
    "os.write(2, b'a line\\n'); raise InputError('no')": ({"codes": [2]}, "output"),
    "open('new', 'w').close(); raise InputError('no')": ({**OUTPUTS, "codes": [2]}, "written"),
    "open('new', 'w').close()": ({}, "written"),
    "os.remove('mine')": (OUTPUTS, "written"),
    "open('mine', 'a').write('x')": (OUTPUTS, "written"),
    "open('new.png', 'wb').write(b'half')": (OUTPUTS, "written"),
    "open('new.json', 'w').write('{')": (OUTPUTS, "written"),
    f"open('new.png', 'w').close(){WAIT}": (KILLED, "written"),
    "import tempfile; tempfile.mkstemp()": ({}, "written"),
    "open('../executed', 'w').close()": ({}, "executed"),
}


def kinds(tmp_path: Path, commands: list[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """The rules that each command breaks, given as its body and what a case says of it."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, HERE, tmp_path],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_command_that_keeps_every_rule_is_clean(tmp_path: Path, fresh: bool) -> None:
    asked = [(body, {**options, "fresh": fresh}) for body, options in CLEAN.items()]
    assert dict(zip(CLEAN, kinds(tmp_path, asked), strict=True)) == {body: [] for body in CLEAN}


def test_every_broken_rule_is_found(tmp_path: Path) -> None:
    found = kinds(tmp_path, [(body, options) for body, (options, _) in BROKEN.items()])
    missed = {
        body: (expected, got)
        for (body, (_, expected)), got in zip(BROKEN.items(), found, strict=True)
        if expected not in got
    }
    assert not missed


def test_broken_rules_are_found_in_a_new_interpreter_too(tmp_path: Path) -> None:
    some = {body: BROKEN[body] for body in list(BROKEN) if "os.write" in body or "open" in body}
    asked = [(body, {**options, "fresh": True}) for body, (options, _) in some.items()]
    found = kinds(tmp_path, asked)
    assert [got for got in found if not got] == []


@pytest.mark.parametrize("fresh", [False, True])
def test_a_case_cannot_write_outside_of_its_folder(tmp_path: Path, fresh: bool) -> None:
    fence = f"import sys; sys.path.insert(0, {str(HERE)!r}); from fence import keep_inside"
    allowed = f"from pathlib import Path; sys.exit(not keep_inside([Path({str(tmp_path)!r})]))"
    if subprocess.run([sys.executable, "-c", f"{fence}; {allowed}"], check=False).returncode:
        pytest.skip("this system has no Landlock")
    (tmp_path / "mine").write_text("mine")
    outside = ("open('../../new', 'w')", "open('../../mine', 'a')", "os.remove('../../mine')")
    found = kinds(tmp_path, [(body, {"fresh": fresh, "codes": [1]}) for body in outside])
    assert found == [[], [], []]
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_a_case_is_the_same_for_the_same_seed() -> None:
    listed = "print([FAMILIES['layouts'].case(s, n).name for s, n in ((3, 5), (4, 5), (3, 6))])"
    script = f"import sys; sys.path.insert(0, sys.argv[1])\nfrom families import FAMILIES\n{listed}"
    first, again = (
        subprocess.run([sys.executable, "-c", script, HERE], capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert first == again
    assert len(set(eval(first))) == 3
