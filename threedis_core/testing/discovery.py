"""What is imported when a plugin is discovered, seen from a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import importlib, sys
from threedis_core.plugins import PluginRegistry
from threedis_core.registrations import Source
PluginRegistry().add(importlib.import_module(sys.argv[1]), Source("conformance"))
print("\\n".join(sys.modules))
"""


def modules_after_discovery(plugin_module: str) -> set[str]:
    """Names of all modules that are loaded once ``plugin_module`` has registered itself.

    Raises:
        AssertionError: The plugin cannot be registered at all.
    """
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, plugin_module],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    if finished.returncode != 0:
        raise AssertionError(f"{plugin_module} cannot be registered: {finished.stderr[-2000:]}")
    return set(finished.stdout.split())
