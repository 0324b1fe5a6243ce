"""What ``threedis render`` says of its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from threedis_core import OptionError
from threedis_core.cli.run.told import told_progress

RENDER = ("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake")
SEEDS = ("--seed", "0", "--seed", "1", "--seed", "2")


def test_off_a_terminal_a_few_lines_say_how_the_work_goes(threedis) -> None:
    threedis(*RENDER, *SEEDS, "--batch-size", "2", "--out", "run")
    assert threedis.notes == [
        "threedis: scene.yaml with fake: 3 pictures ...",
        "threedis: fake: render ...",
        "threedis: pictures 2 of 3",
        "threedis: pictures 3 of 3",
    ]
    threedis(*RENDER, *SEEDS, "--batch-size", "2", "--out", "run")
    assert threedis.notes[1:] == ["threedis: 3 of 3 pictures were there already"]


def test_quiet_says_nothing(threedis) -> None:
    code, out, err = threedis(*RENDER, "--out", "run", "--quiet")
    assert (code, err, threedis.notes) == (0, "", [])
    assert out


def test_an_error_that_is_found_at_once_is_the_only_line(threedis) -> None:
    assert "no such file" in threedis.fails("render", "nowhere.yaml", "--renderer", "fake")
    assert threedis.notes == []


SLOW = """
import sys, time
sys.path.insert(0, sys.argv.pop(1))
from threedis_core.cli import app
from threedis_core.plugin.discovery import load_plugins
from threedis_core.testing import FakeRenderer

render = FakeRenderer.render

def slowly(self, requests, progress):
    time.sleep(0.3)
    return render(self, requests, progress)

FakeRenderer.render = slowly
app.main()
"""


@pytest.fixture
def start(threedis, plugins):  # noqa: ANN201
    def process(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SLOW, str(plugins.path), *RENDER, *arguments],
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return process


def stopped(process: subprocess.Popen[str], after: str, how: int) -> str:
    """What a process says that gets a signal after a line that ends so."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.rstrip().endswith(after):
            process.send_signal(how)
    process.wait()
    return said


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(start) -> None:
    flags = ("--seed", "0", "--seed", "1", "--seed", "2", "--batch-size", "1")
    first = start(*flags)
    said = stopped(first, "pictures 1 of 3", signal.SIGINT)
    assert first.returncode == 130
    assert "Traceback" not in said
    (folder,) = Path("runs").iterdir()
    assert said.splitlines()[-1] == (
        f"threedis: stopped: 1 of 3 pictures are kept in {folder}; the same command goes on with "
        "the others"
    )
    killed = start(*flags)
    said = stopped(killed, "pictures 2 of 3", signal.SIGKILL)
    assert "threedis: 1 of 3 pictures were there already\n" in said
    last = start(*flags)
    out, err = last.communicate()
    assert last.returncode == 0, err
    assert "threedis: 2 of 3 pictures were there already\n" in err
    assert out.split()[-1] == f"{folder}/sheet.png"
    assert list(Path("runs").iterdir()) == [folder]
    fresh = start(*flags)
    out, _ = fresh.communicate()
    assert not out.startswith(str(folder)), "a finished run is not gone on with unasked"


def test_ctrl_c_before_the_first_picture_leaves_nothing(start) -> None:
    process = start()
    said = stopped(process, "with fake: 1 picture ...", signal.SIGINT)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("threedis: stopped before ")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stopped before any work; what was there is as it was"),
        ([("fake: render", 1, 2)], "stopped before the first picture; nothing is kept"),
        (
            [("pictures", 1, 3)],
            "stopped: 1 of 3 pictures are kept in there; the same command goes on with the others",
        ),
        (
            [("fake: render", 1, 1), ("pictures", 3, 3)],
            "stopped: 3 of 3 pictures are kept in there; the same command finishes the run",
        ),
    ],
)
def test_what_is_said_when_ctrl_c_comes(capsys, stages, message) -> None:
    def stopped() -> None:
        with told_progress("a scene", 3) as told:
            told.folder = Path("there")
            for stage in stages:
                told(*stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert capsys.readouterr().err.splitlines()[-1] == f"threedis: {message}"


def test_the_first_line_comes_before_anything_is_planned(threedis, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OptionError("planned")

    monkeypatch.setattr("threedis_core.run.plan.plan_run", refuse)
    assert threedis.fails(*RENDER) == "error: planned"
    assert threedis.notes == ["threedis: scene.yaml with fake: 1 picture ..."]
