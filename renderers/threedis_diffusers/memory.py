"""How much memory a pipeline needs, computed from parameter counts. Bytes everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from threedis_core.errors import WeightsError
from threedis_core.plugin.inspection import MemoryNeed

ALONE = ("text_encoder", "text_encoder_2", "vae")
"""Parts that work alone; all others (U-Net and ControlNet, LoRAs) are needed together."""
FEATURE_MAPS = 5
"""Full-size feature maps that a VAE's decoder holds at once: 4.2 to 5 where it was measured."""
VAE_CHANNELS = 256
"""Channels of such a map in the published VAEs: the second of ``block_out_channels``."""
BASIS = (
    "computed from parameter counts, with room for decoding one picture of the default size; "
    "not measured"
)


@dataclass(frozen=True)
class PartSize:
    """Parameters of a part of a model, and those of its largest layer."""

    parameters: int
    largest_layer: int


def memory_needs(
    parts: Mapping[str, PartSize], bytes_each: int, working: int, on_cpu: bool
) -> tuple[MemoryNeed, ...]:
    """What each offload mode needs, the roomiest first.

    Args:
        parts: The parts' sizes, by the names that a pipeline gives them.
        bytes_each: Bytes of a parameter as it is computed with.
        working: What the work itself needs beside the weights; see ``working_memory``.
        on_cpu: True if there is no accelerator: then nothing can be offloaded.
    """
    counts = {name: part.parameters * bytes_each for name, part in parts.items()}
    weights = sum(counts.values())
    if on_cpu:
        return (MemoryNeed("none", 0, weights + working),)
    together = sum(count for name, count in counts.items() if name not in ALONE)
    # The parts that work alone may all be missing: a single file is one part.
    stage = max([together, *(count for name, count in counts.items() if name in ALONE)])
    layer = max(part.largest_layer for part in parts.values()) * bytes_each
    devices = {"none": weights, "model": stage, "group": layer, "sequential": layer}
    # Every mode loads into main memory first, and offloading keeps the weights there.
    return tuple(MemoryNeed(mode, need + working, weights) for mode, need in devices.items())


def working_memory(pixels: int, bytes_each: int, channels: int = VAE_CHANNELS) -> int:
    """What the work needs beside the weights: most of all, decoding the picture.

    Args:
        pixels: Width times height of the picture.
        bytes_each: Bytes of a number that the VAE computes with.
        channels: Channels of the decoder's widest full-size feature map.
    """
    return FEATURE_MAPS * channels * pixels * bytes_each


def size_in_files(files: Iterable[Path]) -> PartSize:
    """Count the parameters in safetensors files by their headers.

    Raises:
        WeightsError: A file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    layers: Counter[str] = Counter()
    for file in files:
        if file.suffix != ".safetensors":  # the index of a sharded model
            continue
        try:
            with safe_open(file, "numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118  it is no mapping
                    shape = tensors.get_slice(name).get_shape()
                    layers[name.rpartition(".")[0]] += prod(shape)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{file} is damaged ({error}); get the file again") from error
    return PartSize(sum(layers.values()), max(layers.values(), default=0))
