"""Start a command again in several processes of one machine."""

from __future__ import annotations

import subprocess
import sys


def launch_again(processes: int) -> int:
    """Run this very command in several processes; returns their exit code."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command = [*launch, "-m", "threedis_core.cli", *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode
