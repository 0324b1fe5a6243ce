"""The launcher of several processes."""

from __future__ import annotations

import subprocess
import sys

from threedis_core.version import __version__

CODE = "import sys; from threedis_train.launch import launch_again; sys.argv[1:] = {0}; {1}"


def test_the_same_command_runs_in_every_process() -> None:
    code = CODE.format(["--version"], "launch_again(2)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f"threedis {__version__}"] * 2


def test_what_fails_in_a_process_fails_the_command() -> None:
    code = CODE.format(["no-such-command"], "launch_again(2)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no-such-command" in done.stderr
