"""Where a model is to run and in which number format, and whether this machine can do so."""

from __future__ import annotations

import torch

from threedis_core.errors import OptionError
from threedis_diffusers.options import AUTO, DiffusersOptions, ModelOptions

CUDA_ONLY_BACKENDS = ("cudnn", "efficient")
SHARED_MEMORY = ("cpu", "mps")
"""Devices whose memory is the main memory: there is nothing to offload from."""


def resolve_device(options: DiffusersOptions) -> torch.device:
    """The device that ``options`` means on this machine.

    Raises:
        OptionError: The device is not there, or the options ask for what it cannot do.
    """
    device = find_device(options.device)
    check_abilities(options, device)
    return device


def check_abilities(options: DiffusersOptions, device: torch.device) -> None:
    """See that a kind of device can do what the options ask for.

    Raises:
        OptionError: It cannot.
    """
    if device.type in SHARED_MEMORY and options.offload not in (AUTO, "none"):
        where = "CPU" if device.type == "cpu" else f"'{device}', which shares the main memory"
        raise OptionError(
            f"offload is '{options.offload}', but the model runs on the {where}, where there is "
            "nothing to offload from; use offload=auto, or a machine with an accelerator of its "
            "own memory",
            path="offload",
            hint="use offload=auto",
        )
    if device.type != "cuda" and options.attention_backend in CUDA_ONLY_BACKENDS:
        raise _not_here(options.attention_backend, "needs a CUDA device", device)
    if device.type == "mps" and options.attention_backend == "flash":
        raise _not_here("flash", "is not there on MPS", device)


def _not_here(kernel: str, why: str, device: torch.device) -> OptionError:
    hint = "use attention_backend=native"
    return OptionError(
        f"attention_backend '{kernel}' {why}, but the model runs on '{device}'; {hint}",
        path="attention_backend",
        hint=hint,
    )


def find_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is what this machine has.

    Raises:
        OptionError: The device is not there.
    """
    device = torch.device(_automatic() if name == "auto" else name)
    if device.type != "cpu" and not _is_there(device):
        raise OptionError(
            f"device is '{name}', but this machine has no such device; "
            f"use device=auto, which is '{_automatic()}' here",
            path="device",
            hint="use device=auto",
        )
    return device


def resolve_dtype(
    options: ModelOptions, device: torch.device, accelerated: torch.dtype = torch.float16
) -> torch.dtype:
    """The number format that ``options`` means on ``device``; see ``choose_dtype``."""
    return choose_dtype(options.dtype, device.type, accelerated, _has_bfloat16(device))


def choose_dtype(
    asked: str, kind: str, accelerated: torch.dtype, has_bfloat16: bool
) -> torch.dtype:
    """The number format to compute in.

    Args:
        asked: "auto", or a format's name.
        kind: The kind of device: "cuda".
        accelerated: What auto means on an accelerator; on a CPU it is float32.
        has_bfloat16: False where bfloat16 cannot be computed with; auto is float32 then, for
            what is trained in bfloat16 overflows in float16.
    Raises:
        OptionError: The device cannot compute in the format.
    """
    if asked == "auto":
        usable = has_bfloat16 or accelerated != torch.bfloat16
        return accelerated if usable and kind != "cpu" else torch.float32
    if asked == "bfloat16" and not has_bfloat16:
        raise OptionError(
            f"dtype is 'bfloat16', which {kind} has from macOS 14 on; use dtype=float16 or "
            "dtype=float32, or update the system",
            path="dtype",
            hint="use dtype=float16 or dtype=float32",
        )
    return getattr(torch, asked)


def prefers_half(options: DiffusersOptions, dtype: torch.dtype) -> bool:
    """True if files that hold the weights in float16 are to be taken before others."""
    return dtype == torch.float16 if options.variant == "auto" else options.variant == "fp16"


def _automatic() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.xpu.is_available():
        return "xpu"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_bfloat16(device: torch.device) -> bool:
    return device.type != "mps" or torch.backends.mps.is_macos_or_newer(14, 0)


def _is_there(device: torch.device) -> bool:
    if device.type == "mps":
        return torch.backends.mps.is_available()
    kind = getattr(torch, device.type)
    return kind.is_available() and (device.index or 0) < kind.device_count()
