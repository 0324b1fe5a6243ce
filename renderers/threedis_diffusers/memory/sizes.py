"""The sizes of a model's parts: as published, in files, or loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threedis_core.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

TEXT_KEYS = "attn2.to_k.weight"
"""How the names of what makes keys of text end in a U-Net."""


@dataclass(frozen=True)
class PartSize:
    """The size of a part of a model.

    Args:
        parameters: How many it has.
        largest_layer: Parameters of its largest layer.
        text_keys: Channels of all its keys of text together, where they are kept for a run.
    """

    parameters: int
    largest_layer: int
    text_keys: int = 0


def size_in_files(files: Iterable[Path]) -> PartSize:
    """Count the parameters in safetensors files by their headers.

    Raises:
        WeightsError: A file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    layers: Counter[str] = Counter()
    text_keys = 0
    for file in files:
        if file.suffix != ".safetensors":  # the index of a sharded model
            continue
        try:
            with safe_open(file, "numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118  it is no mapping
                    shape = tensors.get_slice(name).get_shape()
                    layers[name.rpartition(".")[0]] += prod(shape)
                    text_keys += shape[0] if name.endswith(TEXT_KEYS) else 0
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{file} is damaged ({error}); get the file again") from error
    return PartSize(sum(layers.values()), max(layers.values(), default=0), text_keys)


def size_of_module(module: nn.Module) -> PartSize:
    """Count the bytes of a loaded part, whatever its weights are packed into."""
    from threedis_diffusers.weight_bytes import plain_tensors  # brings torch

    layers = [
        sum(
            tensor.untyped_storage().nbytes()
            for whole in own.parameters(recurse=False)
            for tensor in plain_tensors(whole)
        )
        for own in module.modules()
    ]
    text_keys = sum(
        weight.shape[0] for name, weight in module.named_parameters() if name.endswith(TEXT_KEYS)
    )
    return PartSize(sum(layers), max(layers, default=0), text_keys)


def sizes_of_pipeline(pipeline: Any) -> dict[str, PartSize]:
    """The bytes of each loaded part of a pipeline that has weights; what is lent, the lender's."""
    from threedis_diffusers.memory.lending import owned_alone, parts_of  # brings torch

    with owned_alone(pipeline):
        return {name: size_of_module(part) for name, part in parts_of(pipeline).items()}
