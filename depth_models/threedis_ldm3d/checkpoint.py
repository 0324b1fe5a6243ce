"""Layout adapters in files, under the names of the published checkpoint.

Every file has the published names, ours too, so that one reader serves all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from threedis_core.errors import OptionError, WeightsError
from threedis_core.files.atomic import check_writable
from threedis_diffusers.weight_files import SAFETENSORS, check_weights, read_weights, save_weights
from threedis_ldm3d.adapter_layers import BOX_WIDTH
from threedis_ldm3d.layout_adapter import LayoutAdapter

HEADER = {"format": "threedis-layout-adapter", "format_version": "1"}
IN_LAYER = ".processor.migc."
"""What stands between a layer's path and the name inside the adapter."""
GATE = "gamma"
BOX_WEIGHT = "pos_net.linears_position.0.weight"
PUBLISHED = {
    "gate": GATE,
    "norm": "norm",
    "box_encoder.network": "pos_net.linears_position",
    "enhancement.query": "ea.to_q",
    "enhancement.key": "ea.to_k",
    "enhancement.value": "ea.to_v",
    "enhancement.out": "ea.to_out.0",
    "layout_attention.query": "la.to_q",
    "layout_attention.key": "la.to_k",
    "layout_attention.value": "la.to_v",
    "layout_attention.out": "la.to_out.0",
    "aggregation.score": "sac.conv2",
    "aggregation.slot_gate.0": "sac.cbam2.ChannelGate.mlp.1",
    "aggregation.slot_gate.2": "sac.cbam2.ChannelGate.mlp.3",
    "aggregation.place_gate": "sac.cbam2.SpatialGate.spatial.conv",
}
"""Our names of a layer's modules, and the published ones."""


def published_names(adapter: LayoutAdapter) -> dict[str, str]:
    """The published name of every weight of ``adapter``, by our name."""
    names: dict[str, str] = {}
    for path in adapter.widths:
        for name, _ in adapter.layer(path).named_parameters():
            module = next(own for own in PUBLISHED if name == own or name.startswith(f"{own}."))
            published = PUBLISHED[module] + name.removeprefix(module)
            names[adapter.own_name(path, name)] = f"{path}{IN_LAYER}{published}"
    return names


def published_shapes(adapter: LayoutAdapter) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of ``adapter``, by published name."""
    shapes = {name: tuple(weight.shape) for name, weight in adapter.state_dict().items()}
    return {published: shapes[own] for own, published in published_names(adapter).items()}


def load_adapter(file: str | Path, unet: nn.Module) -> LayoutAdapter:
    """Load a layout adapter for ``unet``, float32, on the CPU; the U-Net may be on meta.

    Raises:
        WeightsError: The file cannot be read, or weights are missing, too many, or do not fit.
    """
    weights = read_weights(Path(file))
    with torch.device("meta"):
        adapter = LayoutAdapter.for_unet(unet, _box_width(weights))
    check_weights(weights, published_shapes(adapter), f"layout adapter '{file}'")
    return _filled(adapter, weights)


def save_adapter(
    adapter: LayoutAdapter, file: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write an adapter as safetensors, complete or not at all; ``metadata`` goes into its header.

    Raises:
        OSError: The file cannot be written.
    """
    own = adapter.state_dict()
    weights = {published: own[name] for name, published in published_names(adapter).items()}
    save_weights(weights, Path(file), {**HEADER, **(metadata or {})})


def convert_adapter(source: str | Path, target: str | Path) -> int:
    """Write any readable layout adapter as safetensors, its numbers as they are.

    The header says the format, the version of ThreeDIS, and the source's name and SHA-256.

    Returns:
        The number of weights.
    Raises:
        OptionError: ``target`` is no .safetensors name, or cannot be written.
        WeightsError: ``source`` cannot be read, or is not a complete layout adapter.
    """
    source, target = Path(source), Path(target)
    if target.suffix != SAFETENSORS:
        raise OptionError(f"{target}: name the file to write *{SAFETENSORS}")
    check_writable(target)
    weights = read_weights(source)
    owner = f"layout adapter '{source}'"
    try:
        with torch.device("meta"):
            adapter = LayoutAdapter(*_sizes(weights, owner), _box_width(weights))
    except KeyError as error:  # torch's word for a layer's name that no module can have
        raise WeightsError(f"{owner} has a layer of a wrong name: {error}") from error
    check_weights(weights, published_shapes(adapter), owner)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    save_weights(weights, target, {**HEADER, "source": source.name, "source_sha256": digest})
    return len(weights)


def _sizes(weights: Mapping[str, Tensor], owner: str) -> tuple[dict[str, int], int]:
    """The widths of the layers and of the text, as the weights' shapes tell them."""
    gates = [name for name in weights if name.endswith(f"{IN_LAYER}{GATE}")]
    paths = [name.removesuffix(f"{IN_LAYER}{GATE}") for name in gates]
    try:
        widths = {path: len(weights[f"{path}{IN_LAYER}norm.weight"]) for path in paths}
        text_widths = {weights[f"{path}{IN_LAYER}ea.to_k.weight"].shape[1] for path in paths}
    except (KeyError, IndexError, TypeError) as error:
        raise WeightsError(f"{owner} has no weight {error}; get the file again") from error
    if len(text_widths) != 1:
        raise WeightsError(
            f"{owner} has no weights whose names end with '{IN_LAYER}{GATE}', or its layers differ "
            "in text width; name a file with a layout adapter"
        )
    return widths, text_widths.pop()


def _box_width(weights: Mapping[str, Tensor]) -> int:
    """The width of the box encoders; where the weights have none, the published one."""
    shapes = (weights[name].shape for name in weights if name.endswith(BOX_WEIGHT))
    return next((shape[0] for shape in shapes if len(shape) == 2), BOX_WIDTH)


def _filled(adapter: LayoutAdapter, weights: Mapping[str, Tensor]) -> LayoutAdapter:
    names = published_names(adapter)
    own = {name: weights[published].float() for name, published in names.items()}
    adapter.load_state_dict(own, assign=True)
    return adapter.eval().requires_grad_(False)
