"""How FLUX carries out the plan of who sees whom: as the options say, or as suits each phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from threedis_core.attention import ChosenLowering, JointPlan, choose_lowering
from threedis_flux.options import FluxOptions

Choose = Callable[[Sequence[JointPlan], frozenset[str]], ChosenLowering]
"""Says for the plans of a batch and the controls of a phase how they are carried out, and why."""
UNMASKED = ChosenLowering("none", "every token may see every other: the model's own attention")


def choose(options: FluxOptions, device: torch.device, dtype: torch.dtype, head: int) -> Choose:
    """What decides how the plans are carried out.

    Args:
        options: The renderer's options.
        device: Where the transformer computes.
        dtype: What it computes with.
        head: Channels of its heads.
    """
    if options.attention != "auto":
        return always(options.attention)
    if options.attention_backend == "flex":
        return always("block_mask", "attention_backend is flex")
    if options.attention_backend != "native":
        reason = f"the one that runs on the {options.attention_backend} kernel"
        return always("dense", reason)
    return partial(choose_lowering, device=device, dtype=dtype, head=head, reorders=True)


def always(name: str, reason: str = "as the option says") -> Choose:
    """The same whatever the plans are."""
    return lambda plans, controls: ChosenLowering(name, reason)
