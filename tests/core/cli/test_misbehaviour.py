"""A plugin may raise anything anywhere: it is named, in one line, and the exit code is 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

RENDERER = """
    import math
    from PIL import Image
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.plugin.interfaces import (
        BackendOptions, Capabilities, DepthEstimator, RegionRefiner, RenderResult
    )
    from threedis_core.testing.fakes import FakeDepthModel, FakeRenderer

    class OwnError(BaseException): pass

    def misbehave():
        {statement}

    class Bad(FakeRenderer):
        @property
        def capabilities(self):
            return {capabilities}

        def check(self):
            {check}

        def render(self, requests, progress):
            return {render}

        def close(self):
            {close}

    class BadDepth(FakeDepthModel):
        def generate(self, requests, progress):
            return misbehave()

    class BadEstimator(DepthEstimator):
        Options = BackendOptions
        def estimate(self, pictures, progress):
            return misbehave()

    class BadRefiner(RegionRefiner):
        Options = BackendOptions
        def refine(self, layout, depth):
            return misbehave()

    class BadCheck(RegionRefiner):
        Options = BackendOptions
        def check(self, layout):
            misbehave()
        def refine(self, layout, depth):
            raise AssertionError

    @hookimpl
    def threedis_register_renderers(register):
        register("bad", "bad_plugin:Bad")

    @hookimpl
    def threedis_register_depth_models(register):
        register("bad-depth", "bad_plugin:BadDepth")

    @hookimpl
    def threedis_register_depth_estimators(register):
        register("bad-estimator", "bad_plugin:BadEstimator")

    @hookimpl
    def threedis_register_region_refiners(register):
        register("bad-refiner", "bad_plugin:BadRefiner")
        register("bad-check", "bad_plugin:BadCheck")

    @hookimpl
    def threedis_register_commands(app, bench):
        import typer
        sub = typer.Typer()
        app.add_typer(sub, name="group")

        @app.command("bad")
        def bad():
            misbehave()

        @sub.command("bad")
        def bad():
            misbehave()

        @sub.command("fine")
        def fine():
            raise typer.Exit(7)
"""
GOOD = {
    "statement": "raise SystemExit(0)",
    "capabilities": "super().capabilities",
    "check": "pass",
    "render": "super().render(requests, progress)",
    "close": "pass",
}
RAISED = {
    "raise SystemExit(0)": "SystemExit: 0",
    "raise SystemExit": "SystemExit",
    "raise GeneratorExit": "GeneratorExit",
    "raise OwnError('mine')": "OwnError: mine",
    "raise KeyError('oops')": "KeyError: 'oops'",
    "raise StopIteration": "StopIteration",
}
RENDER = ("render", "scene.yaml", "--depth", "depth.png", "--renderer", "bad", "--out", "run")


@pytest.fixture
def misbehaving(threedis, plugins) -> Callable[..., None]:
    def install(**code: str) -> None:
        plugins.install("bad-plugin", RENDERER.format(**GOOD | code))

    return install


@pytest.mark.parametrize(("statement", "reason"), RAISED.items())
@pytest.mark.parametrize(
    ("arguments", "who"),
    [
        (("--depth-model", "bad-depth", "--renderer", "fake"), "depth model 'bad-depth'"),
        (
            ("--depth", "depth.png", "--renderer", "fake", "--region-refiner", "bad-refiner"),
            "region refiner 'bad-refiner'",
        ),
        (
            ("--depth", "depth.png", "--renderer", "fake", "--region-refiner", "bad-check"),
            "region refiner 'bad-check'",
        ),
    ],
)
def test_a_depth_model_or_refiner_that_raises_anything_is_named(
    threedis, misbehaving, statement, reason, arguments, who
) -> None:
    misbehaving(statement=statement)
    line = threedis.fails("render", "scene.yaml", *arguments, code=1)
    assert line == f"error: {who} failed: {reason}"


@pytest.mark.parametrize("where", ["capabilities", "check", "render"])
@pytest.mark.parametrize(("statement", "reason"), RAISED.items())
def test_a_renderer_that_raises_anything_is_named(
    threedis, misbehaving, where, statement, reason
) -> None:
    misbehaving(statement=statement, **{where: "misbehave()"})
    line = threedis.fails(*RENDER, code=1)
    assert line.startswith("error: renderer 'bad'")
    assert line.endswith(reason)
    assert not Path("run").exists()


@pytest.mark.parametrize(("statement", "reason"), RAISED.items())
def test_an_estimator_that_raises_anything_is_named(
    threedis, misbehaving, statement, reason
) -> None:
    misbehaving(statement=statement)
    Image.new("RGB", (8, 8)).save("photo.png")
    line = threedis.fails("depth", "estimate", "photo.png", "--model", "bad-estimator", code=1)
    assert line == f"error: depth estimator 'bad-estimator' failed: {reason}"


@pytest.mark.parametrize(("statement", "reason"), RAISED.items())
def test_a_renderer_that_cannot_be_closed_loses_no_picture(
    threedis, misbehaving, statement, reason
) -> None:
    misbehaving(statement=statement, close="misbehave()")
    code, out, err = threedis(*RENDER)
    assert (code, out) == (0, "run/bad-seed0.png\nrun/sheet.png\n")
    assert err == f"warning: renderer 'bad' could not be closed: {reason}\n"
    assert json.loads(Path("run/run.json").read_text())["warnings"] == [err[9:-1]]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("None", "it returned None; expected a list"),
        ("[None]", "it returned None in its list"),
        ("[RenderResult(None)]", "None as a picture"),
        ("[RenderResult(Image.new('L', (64, 64)))]", "mode L; expected RGB"),
        ("[RenderResult(Image.new('RGB', (64, 64)), {1, 2})]", "type set as provenance"),
        ("[RenderResult(Image.new('RGB', (64, 64)), dict(a={1}))]", "cannot be written as JSON"),
        ("[RenderResult(Image.new('RGB', (64, 64)), dict(a=math.nan))]", "cannot be written as"),
        ("[RenderResult(Image.new('RGB', (64, 64)), {}, None)]", "None as warnings"),
        ("[RenderResult(Image.new('RGB', (64, 64)), {}, 'one')]", "type str as warnings"),
        ("[RenderResult(Image.new('RGB', (64, 64)), {}, (b'',))]", "type bytes among its"),
    ],
)
def test_odd_results_are_named(threedis, misbehaving, results, message) -> None:
    misbehaving(render=results)
    line = threedis.fails(*RENDER, code=1)
    assert line.startswith("error: renderer 'bad' failed: ")
    assert message in line


@pytest.mark.parametrize("returned", ["None", "[None]", "5", "[5, 5]"])
@pytest.mark.parametrize(
    ("arguments", "who"),
    [
        (("--depth-model", "bad-depth"), "depth model 'bad-depth'"),
        (("--depth", "depth.png", "--region-refiner", "bad-refiner"), "region refiner"),
    ],
)
def test_odd_depth_and_odd_regions_are_named(
    threedis, misbehaving, returned, arguments, who
) -> None:
    misbehaving(statement=f"return {returned}")
    line = threedis.fails("render", "scene.yaml", "--renderer", "fake", *arguments, code=1)
    assert who in line
    assert "failed: it returned" in line


@pytest.mark.parametrize(
    "capabilities",
    [
        "None",
        "{}",
        "Capabilities(size_multiple=0)",
        "Capabilities(size_multiple=None)",
        "Capabilities(default_size=(0, 0))",
        "Capabilities(default_size=None)",
        "Capabilities(default_size=(1, 2, 3))",
    ],
)
def test_odd_capabilities_are_named(threedis, misbehaving, capabilities) -> None:
    misbehaving(capabilities=capabilities)
    line = threedis.fails(*RENDER, code=1)
    assert line.startswith("error: renderer 'bad' failed: its capabilities ")


@pytest.mark.parametrize("command", [("bad",), ("group", "bad")])
@pytest.mark.parametrize(
    ("statement", "reason"), [one for one in RAISED.items() if "StopIteration" not in one]
)
def test_a_command_that_raises_anything_is_named(
    threedis, misbehaving, command, statement, reason
) -> None:
    misbehaving(statement=statement)
    line = threedis.fails(*command, code=1)
    assert line == f"error: command '{command[0]}' of bad-plugin 1.0 failed: {reason}"


def test_a_commands_own_exit_code_is_its_own(threedis, misbehaving) -> None:
    misbehaving()
    assert threedis("group", "fine") == (7, "", "")


@pytest.mark.parametrize(
    "arguments",
    [("plugins",), ("--help",), ("doctor",), ("render", "scene.yaml", "--renderer", "one")],
)
@pytest.mark.parametrize("where", ["import", "hook", "commands"])
def test_a_plugin_that_exits_while_it_loads_is_no_end_of_the_program(
    plugins, tmp_path, monkeypatch, where, arguments
) -> None:
    monkeypatch.chdir(tmp_path)
    leave = {where: "raise SystemExit(0)"}
    plugins.install(
        "leaver",
        f"""
    from threedis_core.plugin.hookspecs import hookimpl
    {leave.get("import", "")}

    @hookimpl
    def threedis_register_renderers(register):
        {leave.get("hook", "pass")}

    @hookimpl
    def threedis_register_commands(app, bench):
        {leave.get("commands", "pass")}
""",
    )
    path = os.pathsep.join([str(plugins.path), *filter(None, sys.path)])
    finished = subprocess.run(
        [sys.executable, "-m", "threedis_core.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if arguments[0] == "render":
        assert finished.returncode == 2
        assert "scene.yaml" in finished.stderr
    else:
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout
    if arguments == ("plugins",):
        assert "leaver 1.0 (leaver): " in finished.stdout
        assert "SystemExit: 0" in finished.stdout
