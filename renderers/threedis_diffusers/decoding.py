"""Decode finished latents with as little memory as it takes, and never lose them.

All pictures of a batch decoded together need as many times the memory of one: four of 1024 pixels
in float32 about 29 GiB, after all steps are done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from threedis_diffusers.lazy_model import free_memory
from threedis_diffusers.machine_failures import DEVICE_MEMORY, MAIN_MEMORY, machine_failure

_log = logging.getLogger("threedis_core.models")

Decode = Callable[..., Any]


@contextmanager
def frugal_decoding(pipeline: Any, tiled: bool, movable: bool) -> Iterator[None]:
    """Have the VAE decode one picture after another, and on with less memory where it runs out.

    Where the memory is too small it decodes in tiles, and then on the CPU in float32.

    Args:
        pipeline: A pipeline, with an ``AutoencoderKL`` as a rule; afterwards it is as it was.
        tiled: True to decode in tiles from the first.
        movable: True if the VAE may be moved to the CPU: nobody else offloads it.
    """
    vae: Any = getattr(pipeline, "vae", None)
    if not hasattr(vae, "use_slicing"):  # another kind of decoder looks after itself
        yield
        return
    before = vae.use_slicing, vae.use_tiling
    own: Decode = vae.decode

    def decode(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        failures: list[Exception] = []
        for attempt in _attempts(vae, own, movable):
            try:
                return attempt(latents, *args, **kwargs)
            except Exception as error:
                if machine_failure(error) not in (DEVICE_MEMORY, MAIN_MEMORY):
                    raise
                failures.append(error.with_traceback(None))  # its frames hold what has to be freed
            free_memory()
        raise failures[-1]

    vae.use_slicing, vae.use_tiling = True, tiled or before[1]
    vae.decode = decode
    try:
        yield
    finally:
        del vae.decode
        vae.use_slicing, vae.use_tiling = before


def _attempts(vae: Any, decode: Decode, movable: bool) -> Iterator[Decode]:
    """The ways to decode, each with less of the device's memory than the one before."""
    yield decode
    if not vae.use_tiling:
        _log.warning("the memory is too small to decode a picture as a whole: decoding in tiles")
        vae.use_tiling = True
        yield decode
    if movable and vae.device.type != "cpu":
        _log.warning("the device's memory is too small to decode a picture: decoding on the CPU")
        yield lambda latents, *args, **kwargs: _on_cpu(vae, decode, latents, *args, **kwargs)


def _on_cpu(vae: Any, decode: Decode, latents: Tensor, *args: Any, **kwargs: Any) -> Any:
    device, dtype = vae.device, vae.dtype
    vae.to("cpu", torch.float32)
    try:
        return decode(latents.to("cpu", torch.float32), *args, **kwargs)
    finally:
        vae.to(device, dtype)
