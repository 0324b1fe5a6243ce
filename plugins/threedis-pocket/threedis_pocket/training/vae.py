"""Training of the pocket VAE, and what makes its latents ready for a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from threedis_pocket.training.data import Pictures, to_model
from threedis_pocket.training.parts import load_part
from threedis_train.engine import Task

CROP = 64


def _edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    return picture.diff(dim=-1), picture.diff(dim=-2)


def reconstruction_loss(out: Tensor, target: Tensor) -> Tensor:
    """L1 + 4 MSE + the L1 of the picture's gradients, which keeps edges sharp."""
    edges = sum(F.l1_loss(a, b) for a, b in zip(_edges(out), _edges(target), strict=True))
    return F.l1_loss(out, target) + 4 * F.mse_loss(out, target) + edges


class VaeTask(Task):
    """Reconstruct crops, so that a step is cheap and sees many pictures.

    Args:
        sets: Pictures, each set of one size.
        depth_share: Share of the crops that are of depth maps, as grey pictures: FLUX's
            autoencoder encodes those too.
        around: Crops lie around random objects, so that small ones are seen as often as large
            ones; else anywhere.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        sets: Sequence[Pictures],
        depth_share: float = 0.0,
        around: bool = False,
    ) -> None:
        super().__init__()
        self.vae, self.sets = vae, sets
        self.depth_share, self.around = depth_share, around

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        data = self.sets[int(torch.randint(len(self.sets), (), generator=rng))]
        picks = torch.randint(len(data.rgb), (size,), generator=rng).tolist()
        corners = self._corners(data, picks, rng)
        crops = [
            data.rgb[pick, y : y + CROP, x : x + CROP]
            for pick, (y, x) in zip(picks, corners.tolist(), strict=True)
        ]
        for i, is_depth in enumerate(torch.rand(size, generator=rng) < self.depth_share):
            if is_depth:
                y, x = corners[i].tolist()
                crop = data.depth[picks[i], y : y + CROP, x : x + CROP]
                crops[i] = np.broadcast_to(crop[..., None], (CROP, CROP, 3))
        return {"picture": to_model(np.stack(crops))}

    def _corners(self, data: Pictures, picks: list[int], rng: torch.Generator) -> Tensor:
        """Upper left corners (B, 2), y before x, multiples of 8 pixels."""
        most = (torch.tensor(data.size) - CROP) // 8
        if not self.around:
            return (torch.rand(len(picks), 2, generator=rng) * (most + 1)).long() * 8
        shapes = data.scenes.shapes[picks]
        slots = torch.multinomial((shapes >= 0).float() + 1e-6, 1, generator=rng)[:, 0]
        box = data.scenes.boxes[picks][torch.arange(len(picks)), slots]
        middle = (box[:, [1, 0]] + box[:, [3, 2]]) / 2 * torch.tensor(data.size)
        shift = (torch.rand(len(picks), 2, generator=rng) - 0.5) * CROP * 0.7
        corners = ((middle + shift - CROP / 2) / 8).round().long()
        return torch.minimum(corners.clamp_min(0), most) * 8

    def forward(self, picture: Tensor) -> Tensor:
        posterior = self.vae.encode(picture).latent_dist
        out = self.vae.decode(posterior.sample()).sample
        return reconstruction_loss(out, picture) + 1e-5 * posterior.kl().mean() / 64


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, data: Pictures, count: int = 512) -> None:
    """Fold the latents' mean and spread into the 1x1 convolutions around them.

    Afterwards every latent channel has mean 0 and deviation 1 over the data, so that
    ``scaling_factor`` is 1 and the diffusion model needs no table of constants.
    """
    pictures = to_model(data.rgb[:count])
    latents = torch.cat([vae.encode(p).latent_dist.mean for p in pictures.split(32)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= spread[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / spread
    quant.bias[channels:] -= 2 * spread.log()
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)  # pyright: ignore[reportOperatorIssue]
    post.weight *= spread[None, :, None, None]


@torch.no_grad()
def psnr(vae: AutoencoderKL, data: Pictures, count: int = 256) -> float:
    """Mean peak signal-to-noise ratio [dB] of whole-picture reconstructions."""
    values = []
    for part in to_model(data.rgb[:count]).split(16):
        out = vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1)
        error = ((out - part) / 2).square().mean((1, 2, 3))
        values.append(-10 * error.log10())
    return float(torch.cat(values).mean())


def load_vae(folder: Path) -> AutoencoderKL:
    """The VAE in ``folder``, in float32."""
    return load_part(AutoencoderKL, folder, torch_dtype=torch.float32)
