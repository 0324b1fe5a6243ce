"""Which way to carry out the region plan suits a device, a size and a phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch

from threedis_core.attention.block_mask import computed_share
from threedis_core.attention.joint_plan import JointPlan
from threedis_core.attention.tuning import Records, Setting, machine_of, phase_name

BLOCK_MASK = "block_mask"
"""The lowering whose caller arranges the image tokens."""
# Tokens of a picture, text and image, from which on ``auto`` takes these.
SEGMENTS_FROM = 1024
BLOCK_MASK_FROM = 1024
MOST_BLOCKS = 0.75
"""The share of blocks that a block mask may compute at most. Each costs about twice what it costs
in plain attention, a masked call about half as much again as a plain one: reasoned, not measured;
``threedis tune`` measures."""


@dataclass(frozen=True)
class ChosenLowering:
    """Which lowering was picked, and why."""

    name: str
    reason: str


def choose_lowering(
    plans: Sequence[JointPlan],
    controls: frozenset[str],
    device: torch.device,
    dtype: torch.dtype,
    head: int,
    records: Records | None = None,
    reorders: bool = False,
) -> ChosenLowering:
    """Pick the lowering of a phase for ``auto``: what was measured here, else what is known.

    On a CPU segments and dense take turns at about ``SEGMENTS_FROM`` tokens (measured by
    ``benchmarks/bench_joint_attention.py``, heads of 32 and 128). On CUDA a block mask pays for
    its compilation where the mask is large and much of it is skipped; elsewhere nothing was
    measured, so dense it is.

    Args:
        plans: One per picture, all of as many text and image tokens.
        controls: The controls that are on.
        device: Where the queries will be.
        dtype: Theirs.
        head: Channels of a head.
        records: What was measured on this machine; None: what the user's cache folder keeps.
        reorders: True if the caller arranges image tokens as a lowering asks (``order``); one that
            does not is never answered with a block mask.
    """
    instances = max(len(plan.masks) for plan in plans)
    if instances == 0:
        return ChosenLowering("dense", "no instances: at most padding is masked")
    wanted = Setting(
        device=machine_of(device),
        torch=torch.__version__,
        dtype=str(dtype).removeprefix("torch."),
        head=head,
        phase=phase_name(controls),
        image_tokens=plans[0].image_tokens,
        text_tokens=plans[0].text_tokens,
        instances=instances,
    )
    race = (records or Records.of_the_user()).nearest(wanted)
    if race is not None and not reorders:
        race = replace(race, seconds={n: s for n, s in race.seconds.items() if n != BLOCK_MASK})
    if race is not None and race.seconds:
        return ChosenLowering(
            race.fastest,
            f"measured by threedis tune on {race.setting.device} with {race.setting.instances} "
            f"instances and {race.setting.text_tokens} text tokens: {race.lead:.2f} times faster "
            "than the next one",
        )
    if device.type == "cuda" and plans[0].tokens >= BLOCK_MASK_FROM:
        if not reorders:
            return ChosenLowering("dense", "the image tokens stay where the model has them")
        return _on_cuda(plans, controls)
    return _by_size(device.type, plans[0].tokens)


def _on_cuda(plans: Sequence[JointPlan], controls: frozenset[str]) -> ChosenLowering:
    if find_spec("triton") is None:
        return ChosenLowering("dense", "a block mask needs triton, which is not installed")
    share = sum(computed_share(plan, controls) for plan in plans) / len(plans)
    if share > MOST_BLOCKS:
        return ChosenLowering(
            "dense", f"a block mask would compute {share:.0%} of its blocks, and skip too few"
        )
    return ChosenLowering(
        BLOCK_MASK,
        f"computes {share:.0%} of the blocks; worth compiling at {plans[0].tokens} tokens",
    )


def _by_size(device_type: str, tokens: int) -> ChosenLowering:
    if device_type == "cpu" and tokens >= SEGMENTS_FROM:
        return ChosenLowering("segments", f"the faster one on a CPU with {tokens} tokens")
    if device_type in ("cpu", "cuda"):
        return ChosenLowering(
            "dense", f"the faster one on {device_type} with as few as {tokens} tokens"
        )
    return ChosenLowering(
        "dense", f"the one that any device has, and {device_type} was not measured"
    )
