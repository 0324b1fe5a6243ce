"""Multi-resolution noise: a depth map is smooth, so its noise should have coarse parts too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

MOST_LEVELS = 10


def pyramid_noise(shape: tuple[int, ...], strength: float, rng: torch.Generator) -> Tensor:
    """Normal noise plus ever coarser noise, each level weaker by ``strength``; deviation 1.

    Args:
        shape: (B, C, h, w) of the latents.
        strength: s below 1: level k counts s^k. 0 is plain noise.
        rng: Makes the numbers.
    Returns:
        Shape ``shape``, float32.

    Source: multi-resolution noise as 3DIS (arXiv 2410.12669) trains with, strength 0.3. Every
    level is smaller than the last by a random factor between 2 and 4, down to one pixel.
    """
    noise = torch.randn(shape, generator=rng)
    if strength == 0:
        return noise
    size = shape[2:]
    height, width = size
    for level in range(1, MOST_LEVELS):
        factor = 2 + 2 * float(torch.rand((), generator=rng))
        height, width = max(1, int(height / factor)), max(1, int(width / factor))
        coarse = torch.randn((*shape[:2], height, width), generator=rng)
        noise += strength**level * interpolate(coarse, size=size, mode="bilinear")
        if height == width == 1:
            break
    return noise / noise.std((1, 2, 3), keepdim=True)
