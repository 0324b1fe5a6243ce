"""How FLUX carries out the plan of who sees whom: as the options say, or as suits the batch."""

from __future__ import annotations

import torch

from threedis_core.attention import ChosenLowering, choose_lowering
from threedis_diffusers.batch import Batch
from threedis_flux.options import FluxOptions


def choose(
    options: FluxOptions, device: torch.device, image_tokens: int, text_tokens: int, batch: Batch
) -> ChosenLowering:
    """How the plan of ``batch`` is to be carried out, and why so."""
    if options.attention != "auto":
        return ChosenLowering(options.attention, "as the option says")
    if options.attention_backend == "flex":
        return ChosenLowering("block_mask", "attention_backend is flex")
    if options.attention_backend != "native":
        return ChosenLowering(
            "dense", f"the one that runs on the {options.attention_backend} kernel"
        )
    instances = max(len(request.regions) for request in batch.requests)
    return choose_lowering(device.type, image_tokens, instances, text_tokens)
