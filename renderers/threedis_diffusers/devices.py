"""Where a model runs: device, number format, offload and attention kernels, checked first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
            "nothing to offload from; use offload=none, or a machine with an accelerator"
        )
    if device.type != "cuda" and options.attention_backend in CUDA_ONLY_BACKENDS:
        raise OptionError(
            f"attention_backend '{options.attention_backend}' needs a CUDA device, but the model "
            f"runs on '{device}'; use attention_backend=native"
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
            f"use device=auto, which is '{_automatic()}' here"
        )
    return device


def resolve_dtype(
    options: ModelOptions, device: torch.device, accelerated: torch.dtype = torch.float16
) -> torch.dtype:
    """The number format that ``options`` means: by default ``accelerated``, on a CPU float32."""
    if options.dtype == "auto":
        return torch.float32 if device.type == "cpu" else accelerated
    return getattr(torch, options.dtype)


def place(pipeline: Any, options: DiffusersOptions, device: torch.device) -> None:
    """Move the pipeline to ``device``, or let it be moved there part by part."""
    if options.offload == "none":
        pipeline.to(device)
    elif options.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif options.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(onload_device=device, offload_type="leaf_level")


@contextmanager
def attention_kernel(name: str) -> Iterator[None]:
    """Use one of torch's attention kernels inside; "native" lets torch choose.

    diffusers' own ``set_attention_backend`` has no effect on a U-Net, whose stock processor calls
    torch directly. Layers the kernel cannot serve use the "math" kernel.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = {
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "flash": SDPBackend.FLASH_ATTENTION,
        "math": SDPBackend.MATH,
    }
    if name == "native":
        yield
        return
    with sdpa_kernel([kernels[name], SDPBackend.MATH]):
        yield


def compile_blocks(model: torch.nn.Module) -> None:
    """Compile every transformer block of ``model`` in place; they share their code."""
    from diffusers.models.attention import BasicTransformerBlock

    for module in model.modules():
        if isinstance(module, BasicTransformerBlock):
            module.compile()


def _automatic() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_there(device: torch.device) -> bool:
    if device.type == "mps":
        return torch.backends.mps.is_available()
    kind = getattr(torch, device.type)
    return kind.is_available() and (device.index or 0) < kind.device_count()
