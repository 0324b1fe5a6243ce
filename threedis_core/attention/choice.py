"""Which way to carry out the region plan suits a device and a size."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

# Tokens of a picture, text and image, from which on ``auto`` takes these.
SEGMENTS_FROM = 1024
BLOCK_MASK_FROM = 1024


@dataclass(frozen=True)
class ChosenLowering:
    """Which lowering was picked, and why."""

    name: str
    reason: str


def choose_lowering(
    device_type: str, image_tokens: int, instances: int, text_tokens: int = 0
) -> ChosenLowering:
    """Pick the lowering for ``auto``.

    On a CPU segments and dense take turns at about ``SEGMENTS_FROM`` tokens (measured by
    ``benchmarks/bench_joint_attention.py``, heads of 32 and 128). On CUDA a block mask pays for
    its compilation where the mask is large; elsewhere nothing was measured, so dense it is.

    Args:
        device_type: ``cuda``, ``cpu``, ``mps``...
        image_tokens: Image tokens of a picture.
        instances: The most instances of any picture of the batch.
        text_tokens: Text tokens of a picture, of all its prompts.
    """
    tokens = image_tokens + text_tokens
    if instances == 0:
        return ChosenLowering("dense", "no instances: at most padding is masked")
    if device_type == "cpu" and tokens >= SEGMENTS_FROM:
        return ChosenLowering("segments", f"the faster one on a CPU with {tokens} tokens")
    if device_type == "cuda" and tokens >= BLOCK_MASK_FROM:
        if find_spec("triton") is None:
            return ChosenLowering("dense", "a block mask needs triton, which is not installed")
        return ChosenLowering(
            "block_mask", f"skips what is forbidden; worth compiling at {tokens} tokens"
        )
    if device_type in ("cpu", "cuda"):
        return ChosenLowering(
            "dense", f"the faster one on {device_type} with as few as {tokens} tokens"
        )
    return ChosenLowering(
        "dense", f"the one that any device has, and {device_type} was not measured"
    )
