"""What of FLUX's options and files only FLUX has, seen before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.parts.find import FoundParts
from threedis_flux.options import BASE_MODEL, DEPTH_MODEL, FluxBaseOptions, FluxOptions


def check_fused(options: FluxBaseOptions, found: FoundParts) -> None:
    """See that projections that are to be joined are plain weights.

    Raises:
        OptionError: They are packed.
    """
    if options.fuse_qkv and "transformer" in found.packed:
        raise OptionError(
            f"fuse_qkv joins plain weights, but those of '{options.transformer}' are quantised; "
            "set fuse_qkv=false",
            path="fuse_qkv",
            hint="set fuse_qkv=false",
        )


def check_depth(options: FluxOptions, name: str, transformer: Mapping[str, Any]) -> None:
    """See that depth has a way in: as channels of the model, or by the LoRA that adds them.

    Args:
        options: The renderer's.
        name: Where the transformer is.
        transformer: Its configuration.
    Raises:
        WeightsError: It has none, or two.
    """
    inputs, outputs = transformer.get("in_channels"), transformer.get("out_channels")
    takes_depth = isinstance(outputs, int) and inputs == 2 * outputs
    if takes_depth and options.depth_lora is not None:
        raise WeightsError(
            f"'{name}' takes depth already, but depth_lora is set; name a base model "
            f"like {BASE_MODEL}, or leave depth_lora out"
        )
    if not takes_depth and options.depth_lora is None:
        raise WeightsError(
            f"'{name}' has no channels for depth (in_channels {inputs}); name a model "
            f"like {DEPTH_MODEL}, or set depth_lora"
        )
