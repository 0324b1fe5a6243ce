"""Whatever a plugin raises, and however long it takes, it gets a name; only Ctrl-C passes."""

from __future__ import annotations

import sys
import time

import pytest

from threedis_core.cli.streams import Logs
from threedis_core.errors import OptionError, RenderError
from threedis_core.plugin.failures import (
    closing_named,
    failures_named,
    reason_of,
    waiting_named,
)


class OwnError(BaseException):
    """An error that ``except Exception`` does not catch."""


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise KeyError("no words")


class Stubborn:
    """A backend that cannot be closed."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\nlines"), "renderer 'x' failed: ValueError: two lines"),
        (SystemExit(3), "renderer 'x' failed: SystemExit: 3"),
        (SystemExit(), "renderer 'x' failed: SystemExit"),
        (GeneratorExit(), "renderer 'x' failed: GeneratorExit"),
        (StopIteration(4), "renderer 'x' failed: StopIteration: 4"),
        (OwnError("mine"), "renderer 'x' failed: OwnError: mine"),
        (UnspeakableError(), "renderer 'x' failed: UnspeakableError"),
        (RenderError("ours"), "renderer 'x' failed: ours"),
    ],
)
def test_whatever_is_raised_becomes_an_error_that_names_who(error, message) -> None:
    with pytest.raises(RenderError) as caught, failures_named("renderer 'x'"):
        raise error
    assert str(caught.value) == message


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OptionError("a wrong option")])
def test_ctrl_c_and_our_own_words_pass(error) -> None:
    with pytest.raises(type(error)) as caught, failures_named("renderer 'x'"):
        raise error
    assert caught.value is error


def test_an_endless_reason_is_cut() -> None:
    assert len(reason_of(ValueError("x" * 10**6))) < 3000


@pytest.mark.parametrize("error", [OSError("stuck"), SystemExit(0), OwnError("mine")])
def test_what_cannot_be_closed_is_told_and_the_work_stays(error) -> None:
    told: list[str] = []
    with closing_named(Stubborn(error), "renderer 'x'", told.append):
        made = "a picture"
    assert made
    assert told == [f"renderer 'x' could not be closed: {type(error).__name__}: {error}"]


def test_an_error_inside_is_not_hidden_by_one_while_closing() -> None:
    told: list[str] = []
    with (
        pytest.raises(RenderError, match="first"),
        closing_named(Stubborn(OSError("second")), "renderer 'x'", told.append),
    ):
        raise RenderError("first")
    assert len(told) == 1


def test_ctrl_c_while_closing_stays_ctrl_c() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        closing_named(Stubborn(KeyboardInterrupt()), "renderer 'x'", sys.exit),
    ):
        pass


PLUGIN = """
    {at_import}
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_renderers(register):
        {in_hook}
        register("one", "{target}")
"""
SLEEP = "import time; time.sleep(0.5)"
QUICK = {"at_import": "", "in_hook": "", "target": "threedis_core.testing.fakes:FakeRenderer"}


def test_nothing_is_said_of_what_is_quick(capsys) -> None:
    with Logs():
        with waiting_named("x", 0.1):
            pass
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_named_once_on_one_line(capsys) -> None:
    with Logs(), waiting_named("\x1b[31mx\n", 0.05):
        time.sleep(0.5)
    assert capsys.readouterr() == ("", "waiting for \\x1b[31mx\\n ...\n")


def test_python_hears_of_what_takes_long_through_logging_alone(capsys, caplog) -> None:
    with waiting_named("x", 0.05):
        time.sleep(0.5)
    assert capsys.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records] == ["waiting for x ..."]


@pytest.mark.parametrize(
    ("where", "words"),
    [("at_import", "to be imported"), ("in_hook", "to register what it has")],
)
def test_a_plugin_that_sleeps_is_named(plugins, monkeypatch, capsys, where, words) -> None:
    monkeypatch.setattr("threedis_core.plugin.discovery.PLUGIN_PATIENCE", 0.05)
    plugins.install("sleepy", PLUGIN.format(**QUICK | {where: SLEEP}))
    with Logs():
        assert plugins.load().names("renderer") == ("one",)
    assert capsys.readouterr().err == f"waiting for plugin sleepy 1.0 (sleepy) {words} ...\n"


def test_a_backend_whose_import_takes_long_is_named(plugins, monkeypatch, capsys) -> None:
    monkeypatch.setattr("threedis_core.plugin.registry.BACKEND_PATIENCE", 0.05)
    (plugins.path / "slow_backend.py").write_text(
        f"{SLEEP}\nfrom threedis_core.testing.fakes import FakeRenderer as Slow\n"
    )
    plugins.install("slow", PLUGIN.format(**QUICK | {"target": "slow_backend:Slow"}))
    with Logs():
        plugins.load().renderer("one")
    assert capsys.readouterr().err == (
        "waiting for renderer 'one' of slow 1.0 (slow_backend) to be imported ...\n"
    )
