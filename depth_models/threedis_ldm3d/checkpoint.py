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
from threedis_diffusers.weight_files import SAFETENSORS, read_weights, save_weights
from threedis_diffusers.weight_shapes import check_weights
from threedis_ldm3d.box_encoder import BOX_WIDTH
from threedis_ldm3d.layout_adapter import LayoutAdapter
from threedis_ldm3d.published_names import GATE, IN_LAYER, published_names, published_shapes

HEADER = {"format": "threedis-layout-adapter", "format_version": "1"}
BOX_WEIGHT = "pos_net.linears_position.0.weight"


def load_adapter(file: str | Path, unet: nn.Module) -> LayoutAdapter:
    """Load a layout adapter for ``unet``, float32, on the CPU; the U-Net may be on meta.

    Raises:
        WeightsError: The file cannot be read, or weights are missing, too many, or do not fit.
    """
    weights, box_width = _read(Path(file))
    with torch.device("meta"):
        adapter = LayoutAdapter.for_unet(unet, box_width)
    names, shapes = published_names(adapter), published_shapes(adapter)
    check_weights(weights, shapes, f"layout adapter '{file}'")
    own = {name: weights[published].float() for name, published in names.items()}
    adapter.load_state_dict(own, assign=True)
    return adapter.eval().requires_grad_(False)


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
    weights, box_width = _read(source)
    owner = f"layout adapter '{source}'"
    try:
        with torch.device("meta"):
            adapter = LayoutAdapter(*_sizes(weights, owner), box_width)
    except KeyError as error:  # torch's word for a layer's name that no module can have
        raise WeightsError(f"{owner} has a layer of a wrong name: {error}") from error
    check_weights(weights, published_shapes(adapter), owner)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    save_weights(weights, target, {**HEADER, "source": source.name, "source_sha256": digest})
    return len(weights)


def _read(file: Path) -> tuple[dict[str, Tensor], int]:
    """The weights, and the box encoders' width; where the weights have none, the published one."""
    weights = read_weights(file)
    shapes = (weights[name].shape for name in weights if name.endswith(BOX_WEIGHT))
    return weights, next((shape[0] for shape in shapes if len(shape) == 2), BOX_WIDTH)


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
