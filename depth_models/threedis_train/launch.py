"""Start a command again in several processes of one machine."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def launch_again(processes: int) -> NoReturn:
    """Become a launcher that runs this very command in several processes.

    The launcher takes this process's place, so that what ends this one ends them all.
    """
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command = [*launch, "-m", "threedis_core.cli", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *command])
