"""Compare the weights in a file with those of a model, before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


def differences(found: Shapes, kind: str, config: Mapping[str, Any]) -> tuple[list[str], int]:
    """What differs between a file's weights and those of a model of diffusers.

    Args:
        found: The shapes in the file, by the names in the original format or diffusers' own.
        kind: The model's class in diffusers.
        config: Its configuration.
    Returns:
        A line for each weight that is missing or of another shape, and how many there should be.
    """
    import diffusers
    from diffusers.loaders import single_file_model

    empty = {name: torch.empty(shape, device="meta") for name, shape in found.items()}
    with torch.device("meta"):
        wanted = getattr(diffusers, kind).from_config(dict(config)).state_dict()
    if single_file_model._should_convert_state_dict_to_diffusers(wanted, empty):
        known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES
        empty = known[kind]["checkpoint_mapping_fn"](checkpoint=empty, config=dict(config))
    told = [
        f"{name}, got {_shape(empty.get(name)) or 'nothing'}, expected {tuple(weight.shape)}"
        for name, weight in wanted.items()
        if _shape(empty.get(name)) != weight.shape
    ]
    return told, len(wanted)


def prefixed(names: Mapping[str, Any], kind: str) -> str:
    """What has to stand before the names of a U-Net's weights in the original format.

    Files of a U-Net alone often leave out what names have in a checkpoint of a whole model, by
    which alone diffusers knows them.
    """
    alone = kind == "UNet2DConditionModel" and any(
        name.startswith("input_blocks.") for name in names
    )
    return "model.diffusion_model." if alone else ""


def _shape(weight: Tensor | None) -> tuple[int, ...] | None:
    return None if weight is None else tuple(weight.shape)
