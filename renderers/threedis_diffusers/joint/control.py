"""Control pictures' latents that depend on their pictures alone.

Shapes: P pictures, R rows of a batch, (C, h, w) latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SeededLatents:
    """A VAE's distribution of latents that is sampled by its pictures' seeds.

    Args:
        stock: diffusers' distribution, of R rows: of all pictures, once or several times.
        seeds: The P pictures'.
    """

    stock: Any
    seeds: Sequence[int]

    def sample(self, generator: Any = None) -> Tensor:
        """Each picture's latents, shape (R, C, h, w): as if it was alone after ``manual_seed``."""
        mean, count = self.stock.mean, len(self.seeds)
        noise = torch.empty_like(mean)
        for picture, seed in enumerate(self.seeds):
            own = noise[picture::count]
            numbers = torch.Generator().manual_seed(seed)
            own.copy_(torch.randn(own.shape, generator=numbers, dtype=mean.dtype))
        return mean + self.stock.std * noise

    def mode(self) -> Tensor:
        """Its mean."""
        return self.stock.mode()


@contextmanager
def seeded_latents(vae: Any, seeds: Sequence[int]) -> Iterator[None]:
    """Have what ``vae`` encodes sampled by the pictures' seeds, not by torch's global generator.

    Args:
        vae: A diffusers VAE.
        seeds: Of the pictures of a batch; where guidance doubles them, they come one after another.
    """
    from diffusers.models.modeling_outputs import AutoencoderKLOutput

    stock = vae.encode

    def encode(pixels: Tensor, return_dict: bool = True) -> Any:
        (found,) = stock(pixels, return_dict=False)
        seeded: Any = SeededLatents(found, seeds)
        return AutoencoderKLOutput(latent_dist=seeded) if return_dict else (seeded,)

    vae.encode = encode
    try:
        yield
    finally:
        del vae.encode
