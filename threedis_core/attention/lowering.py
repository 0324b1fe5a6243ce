"""From the region plans of a batch to the attention that carries them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from threedis_core.attention.block_mask import BlockMaskAttention
from threedis_core.attention.dense import DenseAttention
from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_plan import JointPlan
from threedis_core.attention.segments import SegmentAttention
from threedis_core.errors import OptionError, RenderError

Maker = Callable[[Sequence[JointPlan], frozenset[str], torch.device, torch.dtype], JointAttention]

MAKERS: dict[str, Maker] = {
    "dense": DenseAttention,
    "segments": SegmentAttention,
    "block_mask": BlockMaskAttention,
}

# Tokens of a picture, text and image, from which on ``auto`` takes these.
SEGMENTS_FROM = 1024
BLOCK_MASK_FROM = 1024


@dataclass(frozen=True)
class ChosenLowering:
    """Which lowering was picked, and why."""

    name: str
    reason: str


def lower(
    plans: Sequence[JointPlan],
    controls: frozenset[str],
    lowering: str,
    device: torch.device,
    dtype: torch.dtype,
) -> JointAttention | None:
    """Make the attention of a batch for one phase: once a phase, not once a layer.

    Args:
        plans: One per picture, all of as many text and image tokens (see ``JointPlan.padded``);
            their instance counts may differ.
        controls: The controls that are on.
        lowering: One of ``MAKERS``.
        device: Where the queries will be.
        dtype: The queries' dtype.
    Returns:
        None where every token may see every token: use the model's own attention.
    Raises:
        OptionError: An unknown lowering or control.
        RenderError: No plan, or plans of different sizes.
    """
    if lowering not in MAKERS:
        raise OptionError(f"unknown lowering '{lowering}'; expected one of {', '.join(MAKERS)}")
    sizes = sorted({(plan.text_tokens, plan.image_tokens) for plan in plans})
    if len(sizes) != 1:
        raise RenderError(
            f"the plans of one batch have {sizes} text and image tokens; expected one size, pad "
            "the texts"
        )
    if all(plan.permissions(controls).all() for plan in plans):
        return None
    return MAKERS[lowering](plans, controls, device, dtype)


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
