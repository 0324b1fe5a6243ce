"""The kinds of ControlNet: found before anything is loaded, and given their depth maps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from PIL import Image
from torch import nn

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files.checks import (
    WEIGHTS_STEM,
    check_weights,
    read_configuration,
)
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import find_quantization
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.parts.one_file import OneFile
from threedis_diffusers.parts.place import PartPlace, folder_of
from threedis_diffusers.quantized.wanted import Wanted

PLAIN = "ControlNetModel"
UNION = "ControlNetUnionModel"
"""Class names of diffusers: a ControlNet of one kind of control, and one of several."""
UNION_DEPTH = 1
"""Depth among the control types of a union ControlNet."""


def find_controlnet(
    place: PartPlace,
    described_by: ModelSource,
    unet: Mapping[str, Any],
    kinds: Collection[str],
    dtype: torch.dtype = torch.float32,
    wanted: Wanted | None = None,
) -> PipelinePart | OneFile:
    """See that a ControlNet's files are there and that it fits the U-Net's configuration.

    Args:
        place: Where it should be.
        described_by: Where its configuration is if it is one file.
        unet: The U-Net's configuration.
        kinds: Classes that the renderer can use.
        dtype: The number format to compute in.
        wanted: How it is to be quantised.
    Raises:
        OptionError: It cannot be quantised so on this machine.
        WeightsError: A file is missing, or it is of another kind or for another base model.
    """
    if place.file:
        file = OneFile(
            place.source, place.file, "controlnet", PLAIN, "diffusers", described_by, wanted
        )
        file.check()
        _check_fit(file.configuration, file.name, unet, (PLAIN,))
        return file
    source = folder_of(place.source, "controlnet")
    config = read_configuration(source, "config.json")
    kind = _check_fit(config, source.name, unet, kinds)
    quantization = find_quantization(config, wanted, "controlnet", source.name, dtype)
    ending = check_weights(source, "", WEIGHTS_STEM)
    return PipelinePart(source, kind, ending, quantization=quantization)


def _check_fit(
    config: Mapping[str, Any], name: str, unet: Mapping[str, Any], kinds: Collection[str]
) -> str:
    """See that a ControlNet's configuration fits the U-Net's; its class."""
    # Some union ControlNets call themselves by a name that diffusers does not have.
    kind = UNION if "num_control_type" in config else config.get("_class_name", PLAIN)
    if kind not in kinds:
        raise WeightsError(
            f"ControlNet '{name}' is a {kind!r}; expected one of: {', '.join(kinds)}. "
            "Name another ControlNet, or another renderer"
        )
    for key in ("cross_attention_dim", "block_out_channels", "in_channels"):
        if config.get(key) != unet.get(key):
            raise WeightsError(
                f"ControlNet '{name}' has {key} {config.get(key)}, but the model has "
                f"{unet.get(key)}; name a ControlNet that was trained for this base model"
            )
    return kind


def depth_arguments(controlnet: nn.Module, images: list[Image.Image]) -> dict[str, Any]:
    """How the pipeline of ``controlnet`` is given the depth maps of a batch."""
    if not is_union(controlnet):
        return {"image": images}
    # A list with one entry per control; each entry is a batch.
    return {"control_image": [images], "control_mode": [UNION_DEPTH]}


def is_union(controlnet: nn.Module) -> bool:
    """True for a ControlNet of several kinds of control."""
    return type(controlnet).__name__ == UNION


@contextmanager
def pictures_apart(controlnet: nn.Module) -> Iterator[None]:
    """Keep the pictures of a batch out of each other, while inside.

    A union ControlNet has one layer that attends along the batch, so that each picture of a batch
    would change the others. Masked, it gives each what it gets alone.
    """

    def alone(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = args[0]
        others = ~torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)
        return args, {**kwargs, "attn_mask": others}

    with ExitStack() as stack:
        for layer in controlnet.modules() if is_union(controlnet) else ():
            if isinstance(layer, nn.MultiheadAttention):
                handle = layer.register_forward_pre_hook(alone, with_kwargs=True)
                stack.callback(handle.remove)
        yield
