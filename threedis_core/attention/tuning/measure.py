"""Let the lowerings race on this machine.

S tokens, d channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from threedis_core.attention.joint_plan import JointPlan
from threedis_core.attention.lowering import lower
from threedis_core.attention.tuning.turns import take_turns

PLAIN = "plain"
"""Attention without any mask: what the model would do without instances."""


def contestants(device_type: str) -> tuple[str, ...]:
    """The lowerings that are worth measuring on a kind of device."""
    # Uncompiled, a block mask holds all scores at once: hundreds of times slower.
    compiled = device_type == "cuda" and find_spec("triton") is not None
    return ("dense", "segments", *(("block_mask",) if compiled else ()))


def measure(
    plan: JointPlan,
    controls: frozenset[str],
    device: torch.device,
    dtype: torch.dtype,
    heads: int,
    head: int,
    repeats: int,
) -> tuple[dict[str, float], dict[str, str]]:
    """Median seconds of one attention call by each lowering, and by ``PLAIN`` attention.

    Args:
        plan: Who may see whom.
        controls: The controls that are on.
        device: Where.
        dtype: Of the queries, keys and values.
        heads: How many heads a call has; they are independent.
        head: Channels of a head.
        repeats: Turns of each; one more before them does not count, and compiles.
    Returns:
        The times by name, and by name why a lowering could not run.
    """
    query, key, value = (
        torch.randn(1, plan.tokens, heads, head, device=device, dtype=dtype).transpose(1, 2)
        for _ in range(3)
    )
    calls: dict[str, Callable[[], Tensor]] = {
        PLAIN: partial(scaled_dot_product_attention, query, key, value)
    }
    failed: dict[str, str] = {}
    for name in contestants(device.type):
        try:
            attention = lower([plan], controls, name, device, dtype)
            if attention is not None:
                call = partial(attention, query, key, value)
                call()
                calls[name] = call
        except Exception as error:  # a kernel may refuse a device in any way
            failed[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
    return take_turns(calls, repeats, device), failed
