"""Fun-Controlnet-Union: what describes one that is published as a single file, and its sites."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from threedis_diffusers.joint.processor import Sites

EMBEDDER, FIRST = "control_all_x_embedder.2-1.weight", "control_noise_refiner.0.before_proj.weight"


def describe(path: Path, transformer: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the ControlNet in a file.

    Its layers are spread evenly over the transformer's, in every version: 6 in version 1, 15 in
    2.0 and 2.1, 3 in the lite ones. Version 2.0 has its refiner's layers in the file, but with
    zeros, for it refines by its control layers.

    Args:
        path: A safetensors file; a damaged or foreign one raises what safetensors does.
        transformer: The configuration of the transformer that it goes with.
    """
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        width, channels = file.get_slice(EMBEDDER).get_shape()
        trained = FIRST in names and bool(file.get_tensor(FIRST).any())
    layers, refiners = (_count(names, part) for part in ("control_layers", "control_noise_refiner"))
    shared = ("n_heads", "n_kv_heads", "n_refiner_layers", "norm_eps", "qk_norm")
    first = "control_noise_refiner.0.attention.to_q.weight" in names and FIRST not in names
    kind = "control_noise_refiner" if trained else None if first else "control_layers"
    blocks = transformer["n_layers"]
    return {
        **{key: transformer[key] for key in shared},
        "dim": width,
        "control_in_dim": channels // 4,
        "control_layers_places": [*range(0, blocks, blocks // layers)][:layers],
        "control_refiner_layers_places": [*range(refiners or transformer["n_refiner_layers"])],
        "add_control_noise_refiner": kind,
    }


def sites(controlnet: Any) -> Callable[[str], Sites]:
    """Which tokens the ControlNet's own layers see; the others are the transformer's."""
    refines = controlnet.config.add_control_noise_refiner == "control_layers"

    def site(name: str) -> Sites:
        if name.startswith("control_noise_refiner"):
            return "image"
        joint: Sites = ("image", "joint") if refines else "joint"
        return joint if name.startswith("control_layers") else None

    return site


def _count(names: list[str], part: str) -> int:
    return len({found[1] for name in names if (found := re.match(rf"{part}\.(\d+)\.", name))})
