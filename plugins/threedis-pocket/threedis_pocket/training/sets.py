"""What a denoiser is trained on: sets of pictures, each of one size, as latents.

Shapes: B examples of one set, C latent channels on an (h, w) grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from threedis_pocket.training.data import Pictures
from threedis_pocket.world import Scenes

SMALL = 0.09
"""Boxes below this share of the picture count more in the loss, the smaller the more."""
MOST_WEIGHT = 4.0
EQUAL_MOST = 8.0


@dataclass(frozen=True, eq=False)
class LatentSet:
    """Pictures of one size and their latents.

    Args:
        pictures: C pictures.
        latents: Of the pictures, (C, channels, h, w) float16.
        depth_latents: Of the depth maps, likewise; None where the model reads pixels.
    """

    pictures: Pictures
    latents: np.ndarray
    depth_latents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Pick:
    """One step's examples: numbers in one set."""

    data: LatentSet
    numbers: list[int]

    @property
    def scenes(self) -> Scenes:
        """The set's scenes; ``numbers`` are theirs."""
        return self.data.pictures.scenes

    def read(self, array: np.ndarray) -> Tensor:
        """The examples' rows of one of the set's arrays, float."""
        return torch.from_numpy(np.stack([array[i] for i in self.numbers])).float()


def pick(sets: Sequence[LatentSet], size: int, rng: torch.Generator) -> Pick:
    """``size`` random examples of one set; a set comes as often as its share of the pictures."""
    shares = torch.tensor([float(len(one)) for one in sets])
    chosen = sets[int(torch.multinomial(shares, 1, generator=rng))]
    return Pick(chosen, torch.randint(len(chosen), (size,), generator=rng).tolist())


def loss_weights(picked: Pick, equal: bool = False) -> Tensor:
    """How much each latent counts, shape (B, 1, h, w), mean 1 in every picture.

    In a plain mean an object of a hundredth of the picture is a hundredth of the loss, and is
    learnt last. Inside a box the weight grows with the root of SMALL over its area, or, if objects
    are to count ``equal``, with that itself.
    """
    height, width = picked.data.latents.shape[2:]
    boxes = picked.scenes.boxes[picked.numbers]
    there = picked.scenes.shapes[picked.numbers] >= 0
    x0, y0, x1, y1 = (side[..., None, None] for side in boxes.unbind(2))
    y = (torch.arange(height) + 0.5)[:, None] / height
    x = (torch.arange(width) + 0.5)[None, :] / width
    across = (x > x0 - 0.5 / width) & (x < x1 + 0.5 / width)
    down = (y > y0 - 0.5 / height) & (y < y1 + 0.5 / height)
    area = ((x1 - x0) * (y1 - y0)).clamp_min(1e-4)
    share = SMALL / area
    gain = share.clamp(0.5, EQUAL_MOST) if equal else share.sqrt().clamp(0.5, MOST_WEIGHT)
    gain = gain * (across & down) * there[..., None, None]
    weight = 1 + gain.amax(1, keepdim=True)
    return weight / weight.mean((2, 3), keepdim=True)


def worse_depth(depth: Tensor, rng: torch.Generator) -> Tensor:
    """Depth maps (B, 1, H, W) of which a third are blurred a little, as learned ones are."""
    dice = torch.rand(len(depth), generator=rng)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    soft = F.pad(depth, (2, 2, 2, 2), mode="replicate")
    soft = F.conv2d(soft, kernel.view(1, 1, 1, 5))
    soft = F.conv2d(soft, kernel.view(1, 1, 5, 1))
    noise = torch.randn(len(depth), 1, 4, 4, generator=rng) * 0.01
    soft = soft + F.interpolate(noise, size=depth.shape[2:], mode="bilinear")
    return torch.where((dice < 1 / 3)[:, None, None, None], soft.clamp(0, 1), depth)
