"""Which of torch's attention kernels computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
