"""What a machine lacks, told apart from what is wrong with a model's files. Imports no torch."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from threedis_core.errors import RenderError, ThreeDISError

DEVICE_MEMORY = (
    "the device's memory is too small",
    "set offload=group, which keeps most of the model in main memory, or close what else uses the "
    "device; threedis doctor says what each offload needs",
)
MAIN_MEMORY = (
    "the main memory is too small",
    "close other programs, or use a smaller model, or dtype=float16; threedis doctor says what a "
    "model needs",
)
NO_DRIVER = (
    "the driver of the GPU is missing or too old for this torch",
    "install or update it, or set device=cpu",
)
KNOWN: tuple[tuple[str, tuple[str, str]], ...] = (
    (r"DefaultCPUAllocator|unable to mmap|Cannot allocate memory|std::bad_alloc", MAIN_MEMORY),
    (r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED", DEVICE_MEMORY),
    (
        r"No CUDA GPUs are available|CUDA-capable device\(s\) is/are busy or unavailable"
        r"|invalid device ordinal",
        ("this GPU is not there, or somebody else has it", "free it, or set device=cpu"),
    ),
    (r"Found no NVIDIA driver|NVIDIA driver on your system is too old|driver version", NO_DRIVER),
    (
        r"not compiled with CUDA|not linked with support for",
        ("the installed torch cannot use a GPU", "install one that can, or set device=cpu"),
    ),
    (
        r"no kernel image is available",
        (
            "the installed torch has no code for this GPU",
            "install one that has, or set device=cpu",
        ),
    ),
    (
        r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|HIP error|XPU error|MPS backend",
        (
            "the device failed",
            "run again in a new process; if it fails again, set attention_backend=math or "
            "device=cpu",
        ),
    ),
)
"""What torch says, as a pattern; what it means; what to try."""
SYSTEM = {
    errno.ENOMEM: MAIN_MEMORY,
    errno.ENOSPC: ("the disk is full", "free some of it, or set HF_HOME to a folder on another"),
}


def machine_failure(error: BaseException | None) -> tuple[str, str] | None:
    """What a machine lacks, and one thing to try, if that is why ``error`` was raised."""
    while error is not None:
        if isinstance(error, MemoryError):
            return MAIN_MEMORY
        if isinstance(error, OSError) and error.errno in SYSTEM:
            return SYSTEM[error.errno]
        if type(error).__name__ == "OutOfMemoryError" and "DefaultCPU" not in str(error):
            return DEVICE_MEMORY  # torch's, which may say nothing
        if isinstance(error, (RuntimeError, AssertionError)):
            for pattern, told in KNOWN:
                if re.search(pattern, str(error), re.IGNORECASE):
                    return told
        error = error.__cause__
    return None


@contextmanager
def machine_failures_told(what: str) -> Iterator[None]:
    """Say in one line that it was the machine that failed.

    Args:
        what: What is done inside: "loading 'sd15'".
    Raises:
        RenderError: The machine failed.
    """
    try:
        yield
    except ThreeDISError:
        raise
    except Exception as error:
        told = machine_failure(error)
        if told is None:
            raise
        raise failed(what, told, error) from error


def failed(what: str, told: tuple[str, str], error: BaseException, code: str = "") -> RenderError:
    """The error for a machine that failed: what was done, why it failed, what to try."""
    cause, advice = told
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return RenderError(f"{what} failed: {cause} ({reason}); {advice}", code=code, hint=advice)
