"""What these tests do to the environment they run in."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECK = """
import runpy, sys
runpy.run_path(sys.argv[1])
assert "torchvision" not in sys.modules
"""


@pytest.mark.skipif(find_spec("controlnet_aux") is not None, reason="controlnet-aux is here")
def test_without_controlnet_aux_torchvision_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("")
    conftest = Path(__file__).with_name("conftest.py")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", CHECK, str(conftest)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
