"""``threedis tune`` measures, keeps, tells and forgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from threedis_core.attention.tuning import Records
from threedis_core.cli.app import main

Command = Callable[..., str]
SMALL = ("--size", "64", "--instances", "2", "--tokens", "8", "--repeats", "1")


@pytest.fixture
def tune(capsys: pytest.CaptureFixture[str], pipeline_folder: Path) -> Command:
    """Run ``threedis tune`` on the tiny model; what it printed, whatever its exit code."""

    def run(*arguments: str, code: int = 0) -> str:
        model = ("--set", f"model={pipeline_folder}", "--set", "device=cpu")
        with pytest.raises(SystemExit) as ended:
            main(["tune", *model, *arguments])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed.out + printed.err

    return run


def test_each_phase_is_measured_at_the_models_heads_and_kept(tune: Command) -> None:
    rows = json.loads(tune(*SMALL, "--json"))
    assert [row["phase"] for row in rows] == ["i2i+i2t+t2i+t2t", "i2t+t2i+t2t"]
    for row in rows:
        assert (row["head"], row["dtype"]) == (16, "float32")
        assert (row["image_tokens"], row["text_tokens"], row["instances"]) == (16, 24, 2)
        assert set(row["seconds"]) == {"dense", "segments"}
        assert min(row["seconds"].values()) == row["seconds"][row["fastest"]]
    kept = Records.of_the_user().all()
    assert [dict(race.seconds) for race in kept] == [row["seconds"] for row in rows]


def test_the_table_says_what_won_and_where_it_is_kept(tune: Command) -> None:
    printed = tune(*SMALL)
    fastest = [race.fastest for race in Records.of_the_user().all()]
    lines = [line.split() for line in printed.splitlines()]
    table = [line for line in lines if line and line[0] == "2"]
    assert [(line[1], line[-1]) for line in table] == list(
        zip(("i2i", "text"), fastest, strict=True)
    )
    assert str(Records.of_the_user().file) in printed


def test_a_dry_run_tells_what_auto_picks_and_keeps_nothing(tune: Command) -> None:
    before = tune(*SMALL, "--dry-run")
    assert before.count("auto picks dense (the faster one on cpu") == 2
    assert Records.of_the_user().all() == []
    tune(*SMALL)
    assert tune(*SMALL, "--dry-run").count("(measured by threedis tune") == 2


def test_what_was_measured_can_be_forgotten(tune: Command) -> None:
    tune(*SMALL)
    assert "2 measurements forgotten" in tune("--clear")
    assert Records.of_the_user().all() == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--renderer", "sd15"), "such as flux"),
        (("--size", "60"), "use 64x64"),
        (("--instances", "40"), "expected 1 to 32"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--set", "device=cpu", *arguments])
    assert ended.value.code == 2
    assert line in capsys.readouterr().err
