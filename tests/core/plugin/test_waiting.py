"""Who is waited for is said after a while, and only then."""

from __future__ import annotations

import time

import pytest

from threedis_core.plugin.waiting import waiting_named

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
    with waiting_named("x", 0.1):
        pass
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_named_once_on_one_line(capsys) -> None:
    with waiting_named("\x1b[31mx\n", 0.05):
        time.sleep(0.5)
    assert capsys.readouterr() == ("", "waiting for \\x1b[31mx\\n ...\n")


@pytest.mark.parametrize(
    ("where", "words"),
    [("at_import", "to be imported"), ("in_hook", "to register what it has")],
)
def test_a_plugin_that_sleeps_is_named(plugins, monkeypatch, capsys, where, words) -> None:
    monkeypatch.setattr("threedis_core.plugin.registry.PLUGIN_PATIENCE", 0.05)
    plugins.install("sleepy", PLUGIN.format(**QUICK | {where: SLEEP}))
    assert plugins.load().names("renderer") == ("one",)
    assert capsys.readouterr().err == f"waiting for plugin sleepy 1.0 (sleepy) {words} ...\n"


def test_a_backend_whose_import_takes_long_is_named(plugins, monkeypatch, capsys) -> None:
    monkeypatch.setattr("threedis_core.plugin.registry.BACKEND_PATIENCE", 0.05)
    (plugins.path / "slow_backend.py").write_text(
        f"{SLEEP}\nfrom threedis_core.testing.fakes import FakeRenderer as Slow\n"
    )
    plugins.install("slow", PLUGIN.format(**QUICK | {"target": "slow_backend:Slow"}))
    plugins.load().renderer("one")
    assert capsys.readouterr().err == (
        "waiting for renderer 'one' of slow 1.0 (slow_backend) to be imported ...\n"
    )
