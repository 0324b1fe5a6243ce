"""Where a model is to run and in which number format, and whether this machine can do so."""

from __future__ import annotations

import psutil
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
    if options.device_map is None:
        return device
    there = accelerators(device.type)
    check_map(options, device, there)
    return max(there, key=room_on)


def check_map(options: DiffusersOptions, device: torch.device, there: list[torch.device]) -> None:
    """See that a model can be spread over several accelerators.

    Args:
        options: They ask for it.
        device: What ``options.device`` means.
        there: The accelerators of its kind.
    Raises:
        OptionError: It cannot, or other options say where it is to be.
    """
    asked = f"device_map is '{options.device_map}'"
    if options.offload not in (AUTO, "none"):
        hint = "leave device_map or offload out"
        raise OptionError(
            f"{asked}, but offload is '{options.offload}': a model is either spread over "
            f"accelerators or kept in main memory; {hint}",
            path="offload",
            hint=hint,
        )
    if device.index is not None:
        hint = f"use device={device.type}, or leave device_map out"
        raise OptionError(
            f"{asked}, which spreads the model over all accelerators of a kind, but device is "
            f"'{options.device}', one of them; {hint}",
            path="device",
            hint=hint,
        )
    if len(there) < 2:
        here = f"'{there[0]}' is the only one here" if there else "there is none here"
        if options.device == "cpu":
            here = "device is 'cpu'"
        raise OptionError(
            f"{asked}, which spreads the model over several accelerators of one kind, but {here}; "
            "leave device_map out",
            path="device_map",
            hint="leave device_map out",
        )


def accelerators(kind: str) -> list[torch.device]:
    """The accelerators of one kind that this machine has; the CPU is none."""
    if kind == "cpu":
        return []
    if kind == "mps":
        return [torch.device(kind)]
    return [torch.device(kind, index) for index in range(getattr(torch, kind).device_count())]


def room_on(device: torch.device) -> int:
    """Bytes of an accelerator that are free; all of them where its driver does not say."""
    free = free_on(device)
    if free is None:
        return getattr(torch, device.type).get_device_properties(device).total_memory
    return free


def free_on(device: torch.device) -> int | None:
    """Bytes of a device that are free, what torch keeps for itself counted in; None: not known."""
    if device.type in SHARED_MEMORY:
        return psutil.virtual_memory().available
    module = getattr(torch, device.type)
    try:
        free, _ = module.mem_get_info(device)
        kept = module.memory_reserved(device) - module.memory_allocated(device)
    except RuntimeError:  # not every driver answers
        return None
    return free + kept


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
