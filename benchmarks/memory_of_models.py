"""The memory that each base model needs at full size, computed, not measured.

    python benchmarks/memory_of_models.py [--dtype float16 bfloat16 float32] [--json]

The published architectures are built on the meta device, so nothing is downloaded and no memory is
taken; their parameters are counted, and the rules of ``threedis doctor`` turn the counts into what
each offload mode needs for one picture of the model's own size.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

import torch
from architectures import (
    FLUX_DEPTH,
    FLUX_VAE,
    SD35_LARGE,
    SD35_MEDIUM,
    UNETS,
    VAE,
    full_size_parts,
)
from torch import nn

from threedis_core.plugin.inspection import MemoryNeed
from threedis_diffusers.memory.needs import Drawing, memory_needs, work_memory
from threedis_diffusers.memory.sizes import TEXT_KEYS, PartSize

SIDES = {"sd15": 512, "sd21": 768, "sdxl": 1024, "flux": 1024, "sd35": 1024, "sd35-medium": 1024}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: {"unet": unet, "vae": VAE} for name, unet in UNETS.items()},
    "flux": {"transformer": FLUX_DEPTH, "vae": FLUX_VAE},
    "sd35": {"transformer": SD35_LARGE, "vae": FLUX_VAE},
    "sd35-medium": {"transformer": SD35_MEDIUM, "vae": FLUX_VAE},
}
UPCAST = ("sdxl",)
"""Whose VAE decodes in float32, since float16 is too narrow for it."""
MODES = ("none", "model", "group", "sequential")
COLUMNS = "{family:<11} {dtype:<9} {none:>7} {model:>7} {group:>7} {sequential:>11} {main:>12}"


def main() -> None:
    """Parse the command line, compute, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    dtypes = ["float16", "bfloat16", "float32"]
    parser.add_argument("--dtype", nargs="+", choices=dtypes, default=["float16", "float32"])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    sizes = {family: part_sizes(family) for family in SIDES}
    rows = [row(family, dtype, sizes[family]) for family in SIDES for dtype in arguments.dtype]
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


def row(family: str, dtype: str, parts: dict[str, PartSize]) -> dict[str, Any]:
    """Bytes that each offload mode needs."""
    found = needs(family, dtype, parts)
    devices = {need.offload: need.device for need in found}
    return {"family": family, "dtype": dtype, **devices, "main": found[0].main}


def needs(family: str, dtype: str, parts: dict[str, PartSize]) -> tuple[MemoryNeed, ...]:
    """What each offload mode needs for one picture of the model's own size."""
    bytes_each = getattr(torch, dtype).itemsize
    decoded = 4 if family in UPCAST and dtype == "float16" else bytes_each
    drawing = Drawing((SIDES[family], SIDES[family]))
    work = work_memory(CONFIGS[family], parts, drawing, bytes_each, decoded)
    return memory_needs(parts, bytes_each, work, on_cpu=False)


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
