"""The command line in processes of its own: what it imports, and how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from threedis_core.testing import sample_depth, sample_layout

RUN = "from threedis_core.cli import main; main()"
REPORT = """
import sys
from threedis_core.cli import main
try:
    main()
finally:
    heavy = {"torch", "diffusers", "transformers"} & set(sys.modules)
    print("imported", *sorted(heavy), file=sys.stderr)
"""
SLOW = """
    import time
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.testing.fakes import FakeRenderer

    class Slow(FakeRenderer):
        def render(self, requests, progress):
            open("started", "w").close()
            time.sleep(600)

    @hookimpl
    def threedis_register_renderers(register):
        register("slow", "slow_plugin:Slow")
        register("quick", "threedis_core.testing.fakes:FakeRenderer")
"""


def start(script: str, *arguments: str, site: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["plugins"],
        ["--help"],
        ["render", "--help"],
        ["layout", "check", "scene.yaml"],
        ["layout", "draw", "scene.yaml"],
    ],
)
def test_commands_without_a_model_import_no_model_library(
    plugins, tmp_path, monkeypatch, arguments
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_layout(2).save("scene.yaml")
    process = start(REPORT, *arguments, site=plugins.path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.splitlines()[-1] == "imported"


def test_ctrl_c_stops_a_run_with_130_and_keeps_finished_pictures(
    plugins, tmp_path, monkeypatch
) -> None:
    plugins.install("slow-plugin", SLOW)
    plugins.install("core-refiners", "from threedis_core.refiners import *")
    monkeypatch.chdir(tmp_path)
    layout = sample_layout(2)
    layout.save("scene.yaml")
    sample_depth(layout, 64, 64).save("depth.png")
    arguments = ["render", "scene.yaml", "--depth", "depth.png", "--out", "run"]
    renderers = ["--renderer", "quick", "--renderer", "slow"]
    process = start(RUN, *arguments, *renderers, site=plugins.path)
    deadline = time.monotonic() + 300
    while not Path("started").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert (out, "Traceback" in err) == ("", False)
    assert {path.name for path in Path("run").iterdir()} == {
        "depth.png",
        "layout.json",
        "layout.png",
        "quick-seed0.png",
        "regions.png",
        "run.json",
    }
