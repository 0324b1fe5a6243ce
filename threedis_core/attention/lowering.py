"""From the region plans of a batch to the attention that carries them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from threedis_core.attention.dense import DenseAttention
from threedis_core.attention.joint import JointPlan
from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.segments import SegmentAttention
from threedis_core.errors import OptionError, RenderError

Maker = Callable[[Sequence[JointPlan], frozenset[str], torch.device, torch.dtype], JointAttention]

MAKERS: dict[str, Maker] = {"dense": DenseAttention, "segments": SegmentAttention}


@dataclass(frozen=True)
class Choice:
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


def choose_lowering(device_type: str, image_tokens: int, instances: int) -> Choice:
    """Pick the lowering for ``auto``.

    Args:
        device_type: ``cuda``, ``cpu``, ``mps``...
        image_tokens: Image tokens of a picture.
        instances: The most instances of any picture of the batch.
    """
    return Choice("dense", f"{image_tokens} image tokens, {instances} instances on {device_type}")
