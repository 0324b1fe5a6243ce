"""Where in the picture which LoRAs count, and how strongly.

Shapes: N instances; (H, W) any grid over the picture, of pixels or of tokens.

Pixels at which the same LoRAs are equally strong form a *cell*. Where regions overlap, all their
LoRAs count; one that both name counts once, by the weight of larger size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from threedis_core.attention.fusion import resize_masks
from threedis_core.values.layout import Layout

Strengths = Mapping[str, float]
"""By a LoRA's name how strongly it counts: 1 as it was trained. Those of strength 0 are left out"""


@dataclass(frozen=True, eq=False)
class Cell:
    """A part of the picture.

    Args:
        strengths: The LoRAs that count there.
        share: How much of each pixel belongs to it, shape (H, W), in [0, 1].
    """

    strengths: Strengths
    share: Tensor


class LoRAMap:
    """The cells of a picture; their shares sum to 1 everywhere.

    Args:
        uses: Per instance the LoRAs it names.
        masks: Its region, shape (N, H, W), in [0, 1].
    """

    def __init__(self, uses: Sequence[Strengths], masks: Tensor) -> None:
        self._uses, self._masks = uses, masks
        self.cells = _cells(uses, masks)

    @property
    def names(self) -> list[str]:
        """The LoRAs that count anywhere."""
        return sorted({name for cell in self.cells for name in cell.strengths})

    def strength(self, name: str) -> Tensor:
        """How strongly a LoRA counts at each pixel, shape (H, W)."""
        parts = [cell.share * cell.strengths.get(name, 0.0) for cell in self.cells]
        return torch.stack(parts).sum(0)

    def least(self, region: Tensor | None = None) -> Strengths:
        """The strengths that every pixel of ``region`` has at least, bool (H, W).

        That is what holds for something that belongs to a whole region and has no pixels of its
        own, such as its text. None is the whole picture; a region of no pixels has nothing.
        """
        found: dict[str, float] = {}
        for name in self.names:
            values = (
                self.strength(name).flatten() if region is None else self.strength(name)[region]
            )
            if len(values) and float(values.min()) * float(values.max()) > 0:
                found[name] = float(values[values.abs().argmin()])
        return found

    def of_instances(self) -> list[Strengths]:
        """What holds for each instance's text: its own LoRAs, and those of all of its region."""
        regions = [mask > 0 for mask in self._masks]
        found = [self.least(region) for region in regions]
        return [{**own, **there} for own, there in zip(self._uses, found, strict=True)]

    def on_grid(self, *grids: tuple[int, int]) -> list[Cell]:
        """The cells resized to the last of ``grids`` by way of the others, as masks are."""
        shares = torch.stack([cell.share for cell in self.cells])
        for grid in grids:
            shares = resize_masks(shares, grid)
        return [Cell(cell.strengths, share) for cell, share in zip(self.cells, shares, strict=True)]


def lora_uses(layout: Layout, weights: Strengths) -> list[Strengths]:
    """Per instance the LoRAs it names and how strongly each is to count.

    Args:
        layout: The layout.
        weights: By name the weight that the renderer's option gives a LoRA.
    """
    return [
        {
            one.name: one.weight * weights[one.name]
            for one in instance.loras or ()
            if one.weight * weights[one.name] != 0
        }
        for instance in layout.instances
    ]


def _cells(uses: Sequence[Strengths], masks: Tensor) -> list[Cell]:
    shares: dict[tuple[tuple[str, float], ...], Tensor] = {(): torch.ones(masks.shape[1:])}
    for use, mask in zip(uses, masks.float(), strict=True):
        if not use:
            continue
        found: dict[tuple[tuple[str, float], ...], Tensor] = {}
        for key, share in shares.items():
            both = tuple(sorted(_stronger(dict(key), use).items()))
            for where, part in ((key, share * (1 - mask)), (both, share * mask)):
                if part.any():
                    found[where] = found[where] + part if where in found else part
        shares = found
    return [Cell(dict(key), share) for key, share in shares.items()]


def _stronger(one: Strengths, other: Strengths) -> dict[str, float]:
    found = dict(one)
    for name, value in other.items():
        found[name] = max(found.get(name, 0.0), value, key=abs)
    return found
