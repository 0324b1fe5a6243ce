"""The environment that workers are started in: the same packages, plugins and threads."""

from __future__ import annotations

import os
import sys

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DEVICES = "CUDA_VISIBLE_DEVICES"


def worker_environment(threads: int) -> dict[str, str]:
    """What a worker's environment must say, beside what this one's says."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    return {name: str(threads) for name in THREADS} | {"PYTHONPATH": os.pathsep.join(paths)}


def visible_devices() -> list[str]:
    """The CUDA devices that this process may use, as its environment names them."""
    named = os.environ.get(DEVICES)
    if named is not None:
        return [one for one in named.split(",") if one.strip()]
    torch = sys.modules.get("torch")
    count = torch.cuda.device_count() if torch is not None else 0
    return [str(number) for number in range(count)]
