"""The memory that each base model needs at full size, computed, not measured.

    python benchmarks/memory_of_models.py [--dtype float16 bfloat16 float32]
        [--quantization int8|fp8|nf4] [--only FAMILY ...] [--json]

The published architectures are built on the meta device, so nothing is downloaded and no memory is
taken; their parameters are counted, and the rules of ``threedis doctor`` turn the counts into what
each offload mode needs for one picture of the model's own size.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from architectures import (
    FLUX_DEPTH,
    FLUX_VAE,
    QWEN_IMAGE,
    QWEN_VAE,
    SD35_LARGE,
    SD35_MEDIUM,
    UNETS,
    VAE,
    Z_IMAGE,
    Z_IMAGE_CONTROLNETS,
    full_size_parts,
)
from torch import nn

from threedis_core.plugin.inspection import MemoryNeed
from threedis_diffusers.memory.needs import Drawing, memory_needs, work_memory
from threedis_diffusers.memory.sizes import TEXT_KEYS, PartSize
from threedis_diffusers.quantized.wanted import SHORT, weight_bits

LARGE_MODELS = ("sdxl", "flux", "sd35", "sd35-medium", *Z_IMAGE_CONTROLNETS, "qwen-image")
SIDES = {"sd15": 512, "sd21": 768, **dict.fromkeys(LARGE_MODELS, 1024)}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: {"unet": unet, "vae": VAE} for name, unet in UNETS.items()},
    "flux": {"transformer": FLUX_DEPTH, "vae": FLUX_VAE},
    "sd35": {"transformer": SD35_LARGE, "vae": FLUX_VAE},
    "sd35-medium": {"transformer": SD35_MEDIUM, "vae": FLUX_VAE},
    **{name: {"transformer": Z_IMAGE, "vae": FLUX_VAE} for name in Z_IMAGE_CONTROLNETS},
    "qwen-image": {"transformer": QWEN_IMAGE, "vae": QWEN_VAE},
}
UPCAST = ("sdxl",)
"""Whose VAE decodes in float32, since float16 is too narrow for it."""
SMALL = 10**9
"""Parameters up to which a text encoder is left as it is where the large parts are quantised."""
MODES = ("none", "model", "group", "sequential")
COLUMNS = "{family:<12} {dtype:<9} {none:>7} {model:>7} {group:>7} {sequential:>11} {main:>12}"


def main() -> None:
    """Parse the command line, compute, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    dtypes = ["float16", "bfloat16", "float32"]
    parser.add_argument("--dtype", nargs="+", choices=dtypes, default=["float16", "float32"])
    parser.add_argument("--quantization", choices=SHORT, help="of the large parts")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    sizes = {family: part_sizes(family) for family in arguments.only}
    rows = [
        row(family, dtype, sizes[family], arguments.quantization)
        for family in sizes
        for dtype in arguments.dtype
    ]
    if arguments.json:
        parts = {
            family: {name: [size.parameters, size.largest_layer] for name, size in found.items()}
            for family, found in sizes.items()
        }
        print(json.dumps({"parts": parts, "memory": rows}, indent=2))
        return
    print("GiB of the accelerator's memory, by offload mode, and of main memory:")
    print(COLUMNS.format(family="model", dtype="", main="main memory", **{m: m for m in MODES}))
    for found in rows:
        shown = {name: f"{found[name] / 2**30:.1f}" for name in (*MODES, "main")}
        print(COLUMNS.format(family=found["family"], dtype=found["dtype"], **shown))


def part_sizes(family: str) -> dict[str, PartSize]:
    """Parameters of each part of a base model."""
    return {name: _size(part) for name, part in full_size_parts(family).items()}


def row(
    family: str, dtype: str, parts: dict[str, PartSize], quantization: str | None = None
) -> dict[str, Any]:
    """Bytes that each offload mode needs."""
    found = needs(family, dtype, parts, quantization)
    devices = {need.offload: need.device for need in found}
    return {"family": family, "dtype": dtype, **devices, "main": found[0].main}


def needs(
    family: str, dtype: str, parts: dict[str, PartSize], quantization: str | None = None
) -> tuple[MemoryNeed, ...]:
    """What each offload mode needs for one picture of the model's own size."""
    bytes_each = getattr(torch, dtype).itemsize
    decoded = 4 if family in UPCAST and dtype == "float16" else bytes_each
    drawing = Drawing((SIDES[family], SIDES[family]))
    work = work_memory(CONFIGS[family], parts, drawing, bytes_each, decoded)
    packed = parts if quantization is None else _packed(parts, bytes_each, quantization)
    counts = [sum(one.parameters for one in some.values()) for some in (parts, packed)]
    unpacked = (counts[0] - counts[1]) * bytes_each
    return memory_needs(packed, bytes_each, work, on_cpu=False, unpacked=unpacked)


def _packed(parts: dict[str, PartSize], bytes_each: int, word: str) -> dict[str, PartSize]:
    """The parts, the large ones as if they had as few parameters as their bits say."""
    large = [
        name
        for name, size in parts.items()
        if name != "vae" and not (name.startswith("text_") and size.parameters < SMALL)
    ]
    bits = weight_bits(dict.fromkeys(large, SHORT[word]))
    return parts | {
        name: replace(parts[name], parameters=round(parts[name].parameters * of / 8 / bytes_each))
        for name, of in bits.items()
    }


def _size(part: nn.Module) -> PartSize:
    named, stored = dict(part.named_parameters()), part.state_dict().keys()
    # Positions that nobody learns are stored with the weights.
    fixed = {name: one for name, one in part.named_buffers() if name in stored}
    layers: Counter[str] = Counter()
    for name, one in (*named.items(), *fixed.items()):
        layers[name.rpartition(".")[0]] += one.numel()
    text_keys = sum(weight.shape[0] for name, weight in named.items() if name.endswith(TEXT_KEYS))
    return PartSize(layers.total(), max(layers.values()), text_keys)


if __name__ == "__main__":
    main()
