"""How much memory a pipeline needs, computed from the sizes of its parts and of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from threedis_core.plugin.inspection import MemoryNeed
from threedis_diffusers.memory.sizes import PartSize
from threedis_diffusers.model_files.checks import TEXT_ENCODERS
from threedis_diffusers.model_files.facts import vae_widths

ALONE = (*TEXT_ENCODERS, "vae")
"""Parts that work alone; all others (U-Net and ControlNet, LoRAs) are needed together."""
DECODER_MAPS = 5
"""Full-size feature maps that a VAE's decoder holds at once: 3 by its layers, 4.2 to 5 with what
convolutions need beside, where it was measured."""
VAE_CHANNELS = 256
"""Channels of such a map in the published VAEs: the second of ``block_out_channels``."""
ROW_MAPS = 26
"""Feature maps of a U-Net's first width, as large as the latents, that one row of a batch holds at
once: 26 for SD1.5 and SD2.1, 16 for SDXL; see ``benchmarks/memory_of_models.py``."""
UNET_CHANNELS = 320
TOKEN_STATES = 18
"""Hidden states that a token of FLUX's transformer has at once; likewise."""
TRANSFORMER_WIDTH = 3072
HOOK_MAPS, HOOK_ROWS = 3, 16
"""What the region hook holds for each text that it attends to, and of how many texts at most."""
CLIP_TOKENS = 77
MOST_INSTANCES = 16
"""Instances that there is room for where nobody says how many there will be."""
TOKENS_PER_PROMPT = 200
LATENT_FACTOR, PATCH = 8, 2
LAYERS_IN_FLIGHT = 3
"""Layers on the device at once in group offloading: the one at work, the next one, and one whose
memory is not free yet."""
SPARE = 300 * 2**20
"""What kernels and the allocator take of a device beside all that is counted."""
LIBRARIES = 600 * 2**20
"""Main memory of a process that has imported torch, diffusers and transformers."""
BASIS = (
    "computed from parameter counts, with room for 16 instances and for decoding one picture of "
    "the default size; not measured"
)


@dataclass(frozen=True)
class Work:
    """What the work takes beside the weights.

    Args:
        step: While it denoises.
        decode: While a picture is decoded.
    """

    step: int = 0
    decode: int = 0

    @property
    def most(self) -> int:
        """What it takes at most at any time."""
        return max(self.step, self.decode)


@dataclass(frozen=True)
class Drawing:
    """What is drawn at once.

    Args:
        size: (width, height) in pixels.
        pictures: How many.
        instances: Of all pictures together.
    """

    size: tuple[int, int]
    pictures: int = 1
    instances: int = MOST_INSTANCES


def memory_needs(
    parts: Mapping[str, PartSize],
    bytes_each: int,
    work: Work,
    on_cpu: bool,
    unpacked: int = 0,
) -> tuple[MemoryNeed, ...]:
    """What each offload mode needs, the roomiest first.

    Args:
        parts: The parts' sizes, by the names that a pipeline gives them.
        bytes_each: Bytes of a parameter as it is computed with.
        work: What the work itself needs beside the weights.
        on_cpu: True if there is no accelerator: then nothing can be offloaded.
        unpacked: Bytes of weights that are quantised while they are loaded, beyond what is left.
    """
    counts = {name: part.parameters * bytes_each for name, part in parts.items()}
    weights = sum(counts.values())
    if on_cpu:
        return (MemoryNeed("none", 0, LIBRARIES + weights + work.most),)
    # The parts that work alone may all be missing: a single file is one part.
    together = sum(count for name, count in counts.items() if name not in ALONE)
    texts = max([0, *(counts[name] for name in ALONE if name in counts and name != "vae")])
    vae, layer = counts.get("vae", 0), max(part.largest_layer for part in parts.values())
    few = work.most + layer * bytes_each
    # Weights of text keys are fetched ahead in every step, but used in the first alone.
    fetched = sum(part.text_keys for part in parts.values()) * 2048 * bytes_each
    streams = max(work.step + fetched, work.decode) + LAYERS_IN_FLIGHT * layer * bytes_each
    devices = {
        "none": weights + work.most,
        "model": max(together + work.step, texts, vae + work.decode),
        "group": streams,
        "sequential": few,
    }
    # Every mode loads into main memory first, and offloading keeps the weights there.
    main = weights + unpacked + LIBRARIES
    return tuple(MemoryNeed(mode, need + SPARE, main) for mode, need in devices.items())


def work_memory(
    configs: Mapping[str, Mapping[str, Any]],
    parts: Mapping[str, PartSize],
    drawing: Drawing,
    bytes_each: int,
    decoded_bytes: int,
) -> Work:
    """What drawing takes beside the weights.

    Args:
        configs: The parts' configurations, as far as they are known; the published ones' values
            stand in for what is not.
        parts: The parts' sizes.
        drawing: What is drawn at once; pictures are decoded one by one.
        bytes_each: Bytes of a number that is computed with.
        decoded_bytes: Bytes of a number that the VAE computes with.
    """
    width, height = drawing.size
    widths = vae_widths(configs.get("vae", {})) or [VAE_CHANNELS]
    channels = widths[min(1, len(widths) - 1)]
    decode = DECODER_MAPS * channels * width * height * decoded_bytes
    factor = 2 ** (len(widths) - 1) if len(widths) > 1 else LATENT_FACTOR
    area = (width // factor) * (height // factor)
    if "transformer" in parts:
        step = _transformer_step(configs.get("transformer", {}), parts, area, drawing)
    else:
        step = _unet_step(configs.get("unet", {}), parts, area, drawing)
    return Work(step * bytes_each, decode)


def _unet_step(
    config: Mapping[str, Any], parts: Mapping[str, PartSize], area: int, drawing: Drawing
) -> int:
    """Numbers that a step of a U-Net holds, with guidance and the region hook."""
    one_map = (config.get("block_out_channels") or (UNET_CHANNELS,))[0] * area
    rows = 2 * drawing.pictures
    texts = rows + drawing.instances
    heard = min(texts, max(HOOK_ROWS, rows))
    unet = parts.get("unet")
    kept = 2 * CLIP_TOKENS * texts * (unet.text_keys if unet is not None else 0)
    return one_map * (ROW_MAPS * rows + HOOK_MAPS * heard) + kept


def _transformer_step(
    config: Mapping[str, Any], parts: Mapping[str, PartSize], area: int, drawing: Drawing
) -> int:
    """Numbers that a step of a joint-attention transformer holds."""
    heads, width = config.get("num_attention_heads"), config.get("attention_head_dim")
    hidden = heads * width if heads and width else config.get("dim") or TRANSFORMER_WIDTH
    text = TOKENS_PER_PROMPT * (drawing.pictures + drawing.instances)
    # What has three text encoders is guided by a negative prompt, whose text is as long.
    rows = 2 if TEXT_ENCODERS[-1] in parts else 1
    return TOKEN_STATES * hidden * (area // PATCH**2 * drawing.pictures + text) * rows
