"""Where a model is to run and in which number format, and whether this machine can do so."""

from __future__ import annotations

import torch

from threedis_core.errors import OptionError
from threedis_diffusers.options import DiffusersOptions, ModelOptions

CUDA_ONLY_BACKENDS = ("cudnn", "efficient")


def resolve_device(options: DiffusersOptions) -> torch.device:
    """The device that ``options`` means on this machine.

    Raises:
        OptionError: The device is not there, or the options ask for what it cannot do.
    """
    device = find_device(options.device)
    if device.type == "cpu" and options.offload != "none":
        raise OptionError(
            f"offload is '{options.offload}', but the model runs on the CPU, where there is "
            "nothing to offload from; use offload=none, or a machine with an accelerator",
            path="offload",
            hint="use offload=none, or a machine with an accelerator",
        )
    if device.type != "cuda" and options.attention_backend in CUDA_ONLY_BACKENDS:
        raise OptionError(
            f"attention_backend '{options.attention_backend}' needs a CUDA device, but the model "
            f"runs on '{device}'; use attention_backend=native",
            path="attention_backend",
            hint="use attention_backend=native",
        )
    return device


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
    """The number format that ``options`` means: by default ``accelerated``, on a CPU float32."""
    if options.dtype == "auto":
        return torch.float32 if device.type == "cpu" else accelerated
    return getattr(torch, options.dtype)


def prefers_half(options: DiffusersOptions, dtype: torch.dtype) -> bool:
    """True if files that hold the weights in float16 are to be taken before others."""
    return dtype == torch.float16 if options.variant == "auto" else options.variant == "fp16"


def _automatic() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_there(device: torch.device) -> bool:
    if device.type == "mps":
        return torch.backends.mps.is_available()
    kind = getattr(torch, device.type)
    return kind.is_available() and (device.index or 0) < kind.device_count()
