"""From the region plans of a batch to the attention that carries them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from threedis_core.attention.block_mask import BlockMaskAttention
from threedis_core.attention.dense import DenseAttention
from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_plan import JointPlan, Site
from threedis_core.attention.segmented.attention import SegmentAttention
from threedis_core.errors import OptionError, RenderError

Maker = Callable[[Sequence[JointPlan], frozenset[str], torch.device, torch.dtype], JointAttention]

MAKERS: dict[str, Maker] = {
    "dense": DenseAttention,
    "segments": SegmentAttention,
    "block_mask": BlockMaskAttention,
}


def lower(
    plans: Sequence[JointPlan],
    controls: frozenset[str],
    lowering: str,
    device: torch.device,
    dtype: torch.dtype,
    site: Site = "joint",
) -> JointAttention | None:
    """Make the attention of a batch for one phase: once a phase, not once a layer.

    Args:
        plans: One per picture, all of as many text and image tokens (see ``JointPlan.padded``);
            their instance counts may differ.
        controls: The controls that are on.
        lowering: One of ``MAKERS``.
        device: Where the queries will be.
        dtype: The queries' dtype.
        site: Which tokens the attention sees: "image" for a second, image-only attention.
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
    plans = [plan if plan.site == site else replace(plan, site=site) for plan in plans]
    if all(plan.permissions(controls).all() for plan in plans):
        return None
    return MAKERS[lowering](plans, controls, device, dtype)
