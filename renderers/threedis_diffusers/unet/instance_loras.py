"""LoRAs of instances in a U-Net: each layer's image tokens by their place, its text by the cell.

Shapes: as in ``attention.py``; a picture has cells, see ``instance_loras/cells.py``.

A layer that has no place in the picture, such as a time embedding's, takes a LoRA only if it
counts in all of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from threedis_core.attention import FusionPlan
from threedis_diffusers.instance_loras.cells import Cell, LoRAMap, Strengths
from threedis_diffusers.instance_loras.layers import Adapters, LoRAHook, Strength
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.unet.prompts import BatchText

TEXT_LAYERS = ("attn2.to_k", "attn2.to_v")
"""The layers that read text; the region processor asks for their LoRAs itself."""


@dataclass(frozen=True, eq=False)
class CellText:
    """What a cell reads.

    Args:
        strengths: The LoRAs that count there.
        rows: Embeddings of all rows, shape (rows, L, T), with the LoRAs' text encoders.
    """

    strengths: Strengths
    rows: Tensor


@dataclass(frozen=True, eq=False)
class UNetLoRAs:
    """The LoRAs of one run's instances.

    Args:
        adapters: The LoRAs, loaded and inactive.
        places: Where each counts.
        plan: The run's fusion plan, which knows the layers' grids.
        texts: What each cell reads, in the order of the cells.
    """

    adapters: Adapters
    places: LoRAMap
    plan: FusionPlan
    texts: Sequence[CellText]
    _known: dict[Any, Tensor] = field(default_factory=dict, init=False)

    def shares(self, tokens: int, like: Tensor) -> list[Tensor]:
        """How much of each of a layer's image tokens belongs to each cell, shape (tokens, 1)."""
        cells = self._cells(self.plan.grid(tokens))
        return [cell.share.flatten()[:, None].to(like.device, like.dtype) for cell in cells]

    def projected(self, layer: Any, text: CellText, rows: Tensor) -> Tensor:
        """A text layer's output for ``rows``, (rows, L, T), with the LoRAs of a cell."""
        output = layer(rows)
        for name in self.adapters.of(layer) if hasattr(layer, "lora_A") else ():
            if strength := text.strengths.get(name, 0.0):
                output = output + self.adapters.added(layer, name, rows) * strength
        return output

    def hook(self, unet: nn.Module) -> LoRAHook:
        """The hook of every other layer of ``unet``."""
        least = self.places.least()

        def by_place(name: str, output: Tensor) -> Tensor | float:
            if output.ndim == 2:
                return least.get(name, 0.0)
            if output.ndim == 4:
                return self._strength(name, (output.shape[-2], output.shape[-1]), output)
            return self._strength(name, self.plan.grid(output.shape[1]), output).flatten()[:, None]

        sites: dict[Any, Strength] = {
            layer: by_place
            for name, layer in self.adapters.layers(unet)
            if not name.endswith(TEXT_LAYERS)
        }
        return LoRAHook(self.adapters, sites)

    def _strength(self, name: str, grid: tuple[int, int], like: Tensor) -> Tensor:
        key = name, grid, like.device, like.dtype
        if key not in self._known:
            parts = [cell.share * cell.strengths.get(name, 0.0) for cell in self._cells(grid)]
            self._known[key] = torch.stack(parts).sum(0).to(like.device, like.dtype)
        return self._known[key]

    def _cells(self, grid: tuple[int, int]) -> list[Cell]:
        return self.places.on_grid(self.plan.latent_size, grid)


def cell_texts(
    loras: PlacedLoRAs, pipeline: Any, read: Callable[[Strengths], BatchText], text: BatchText
) -> list[CellText]:
    """What each cell reads: other text than the picture's only where a LoRA changes an encoder.

    Args:
        loras: The LoRAs of a run.
        pipeline: Whose text encoders read.
        read: Reads the batch's texts with LoRAs of some strengths in the text encoders.
        text: What the whole picture reads.
    """
    told, whole = loras.in_text(pipeline), loras.places.least()
    texts: list[CellText] = []
    for cell in loras.places.cells:
        same = all(cell.strengths.get(name) == whole.get(name) for name in told)
        texts.append(CellText(cell.strengths, (text if same else read(cell.strengths)).rows))
    return texts


def placeless(adapters: Adapters, unet: nn.Module) -> Iterator[tuple[str, str]]:
    """The LoRAs' layers that have no place in the picture: each LoRA's name, the layer's."""
    for layer_name, layer in adapters.layers(unet):
        if "time_emb" in layer_name or "add_embedding" in layer_name:
            for name in adapters.of(layer):
                yield name, layer_name
