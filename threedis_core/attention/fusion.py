"""The region plan of U-Nets: how much each prompt counts at each pixel of each layer.

Shapes: B pictures, N_i instances of picture i, R = sum(1 + N_i) rows (picture after picture: the
global prompt, then the instances), H x W pixels, (h, w) latent grid, (rows, columns) layer grid.

Source: 3DIS (arXiv 2410.12669), the fusion of a U-Net's cross-attention. ``background_weight`` is
ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from threedis_core.errors import RenderError


class FusionPlan:
    """The fusion weights of a batch, built once a run and kept per layer grid.

    At each pixel the prompts' weights are softmax([1, alpha * m_1, ..., alpha * m_N]), where m_i is
    instance i's mask: resized to the latent grid, multiplied by ``alpha``, resized to the layer's
    grid (bilinear, corners not aligned).

    ``background_weight`` b raises the global prompt's weight to at least b * (1 - c), where c is
    the largest of the m_i; the instances share the rest in their old proportions. So it leaves
    what lies inside a mask as it is; 1 keeps the background to the global prompt alone, None and
    0 leave everything as published.

    Args:
        masks: Per picture its instances' masks, shape (N_i, H, W), values in [0, 1].
        latent_size: (h, w) of the latents.
        alpha: How strongly a mask binds its instance; 10 as published.
        background_weight: b above, in [0, 1], or None.
    """

    def __init__(
        self,
        masks: Sequence[Tensor],
        latent_size: tuple[int, int],
        alpha: float = 10.0,
        background_weight: float | None = None,
    ) -> None:
        self.latent_size = latent_size
        self.counts = tuple(1 + len(mask) for mask in masks)
        self._alpha = alpha
        self._background_weight = background_weight or 0.0
        self._masks = [resize_masks(mask.float(), latent_size) for mask in masks]
        self._cache: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    @property
    def pictures(self) -> int:
        """B, the number of pictures."""
        return len(self.counts)

    def row_pictures(self) -> list[int]:
        """The picture each of the R rows belongs to."""
        return [picture for picture, rows in enumerate(self.counts) for _ in range(rows)]

    def lost(self, picture: int) -> list[int]:
        """Indices of the instances whose mask is zero on the whole latent grid."""
        return [index for index, mask in enumerate(self._masks[picture]) if not mask.any()]

    def grid(self, tokens: int) -> tuple[int, int]:
        """The (rows, columns) of a layer with ``tokens`` image tokens.

        A U-Net halves the latent grid and rounds up, so the number of tokens tells the grid.

        Raises:
            RenderError: No such grid.
        """
        rows, columns = self.latent_size
        while rows * columns > tokens:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        if rows * columns != tokens:
            raise RenderError(
                f"an attention layer has {tokens} image tokens, which no halving of the "
                f"{self.latent_size[0]}x{self.latent_size[1]} latent grid gives; this U-Net does "
                "not downsample by 2, the region hook cannot serve it"
            )
        return rows, columns

    def weights(self, tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Fusion weights, shape (R, tokens), in [0, 1]; each picture's rows sum to 1."""
        key = (tokens, dtype, device)
        if key not in self._cache:
            grid = self.grid(tokens)
            parts = [self._picture_weights(masks, grid) for masks in self._masks]
            self._cache[key] = torch.cat(parts).flatten(1).to(device, dtype)
        return self._cache[key]

    def _picture_weights(self, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        logits = resize_masks(masks * self._alpha, grid)
        weights = torch.cat([torch.ones(1, *grid), logits]).softmax(0)
        if len(masks) == 0 or self._background_weight == 0:
            return weights
        covered = resize_masks(masks, grid).amax(0).clamp(0, 1)
        own, others = weights[0], weights[1:]
        raised = torch.maximum(own, self._background_weight * (1 - covered))
        return torch.cat([raised[None], others * ((1 - raised) / (1 - own))])


def resize_masks(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Masks (N, H, W) on another grid, shape (N, *grid): bilinear, corners not aligned."""
    if len(masks) == 0:
        return masks.new_zeros(0, *grid)
    if tuple(masks.shape[-2:]) == tuple(grid):
        return masks
    return interpolate(masks[None], size=grid, mode="bilinear", align_corners=False)[0]
