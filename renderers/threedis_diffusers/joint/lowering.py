"""How the plan of who sees whom is carried out: as the options say, or as suits each phase."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import torch

from threedis_core.attention import Choose, ChosenLowering, choose_lowering
from threedis_core.errors import OptionError
from threedis_diffusers.joint.options import JointOptions

LOWERINGS = {"flex": "block_mask"}
"""Which way to carry out the plan an attention backend implies."""


def choose(
    options: JointOptions, device: torch.device, dtype: torch.dtype, head: int, reorders: bool
) -> Choose:
    """What decides how the plans are carried out.

    Args:
        options: The renderer's options.
        device: Where the transformer computes.
        dtype: What it computes with.
        head: Channels of its heads.
        reorders: True if the hook arranges the image tokens as a lowering asks.
    """
    if options.attention != "auto":
        return always(options.attention)
    if options.attention_backend == "flex":
        return always("block_mask", "attention_backend is flex")
    if options.attention_backend != "native":
        reason = f"the one that runs on the {options.attention_backend} kernel"
        return always("dense", reason)
    return partial(choose_lowering, device=device, dtype=dtype, head=head, reorders=reorders)


def always(name: str, reason: str = "as the option says") -> Choose:
    """The same whatever the plans are."""
    return lambda plans, controls: ChosenLowering(name, reason)


def check_lowering(options: JointOptions, device: torch.device) -> None:
    """See that this machine has what the chosen way to carry out the plan needs.

    Raises:
        OptionError: A block mask on CUDA, and no compiler for it.
    """
    chosen = "block_mask" in (options.attention, LOWERINGS.get(options.attention_backend))
    if chosen and device.type == "cuda" and find_spec("triton") is None:
        raise OptionError(
            "attention=block_mask needs the package triton on CUDA, which is not installed; "
            "install it, or use attention=dense"
        )
