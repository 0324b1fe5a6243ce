"""What the layout adapter is told of a batch, as each layer of the U-Net sees it.

Shapes as in ``adapter_layers.py``; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.attention.fusion import resize_masks
from threedis_ldm3d.adapter_layers import LayerLayout


class LayoutConditions:
    """The layouts of a batch on every grid of a U-Net, built once a run and kept.

    A token belongs to every region that it touches, and to the background if it touches that.
    Tokens see each other if they have one of these in common.

    Args:
        masks: Per picture its instances' masks, shape (N_b, H, W), values in [0, 1].
        boxes: Per picture its instances' boxes x0, y0, x1, y1 in [0, 1], shape (N_b, 4).
        texts: Per picture its instances' pooled text embeddings, shape (N_b, T).
        plan: The batch's fusion plan, which knows the grids.
    """

    def __init__(
        self,
        masks: Sequence[Tensor],
        boxes: Sequence[Tensor],
        texts: Sequence[Tensor],
        plan: FusionPlan,
    ) -> None:
        self.batch = len(masks)
        self.pictures = [index for index, some in enumerate(masks) if len(some)]
        """The pictures that have instances; the adapter leaves the others alone."""
        self._plan = plan
        self._counts = tuple(len(masks[index]) for index in self.pictures)
        self._boxes = [boxes[index] for index in self.pictures]
        self._texts = [texts[index] for index in self.pictures]
        self._groups = [_groups(masks[index], plan.latent_size) for index in self.pictures]
        self._pictures: dict[torch.device, Tensor] = {}
        self._cache: dict[tuple[int, torch.dtype, torch.device], LayerLayout] = {}

    def pictures_on(self, device: torch.device) -> Tensor:
        """``pictures`` as indices on ``device``."""
        if device not in self._pictures:
            self._pictures[device] = torch.tensor(self.pictures, device=device)
        return self._pictures[device]

    def layer(self, tokens: int, dtype: torch.dtype, device: torch.device) -> LayerLayout:
        """The layouts for a layer with so many image tokens.

        Raises:
            RenderError: No grid of the U-Net has so many.
        """
        key = (tokens, dtype, device)
        if key not in self._cache:
            grid = self._plan.grid(tokens)
            groups = [resize_masks(some, grid).flatten(1) for some in self._groups]
            self._cache[key] = LayerLayout(
                torch.cat(self._texts).to(device, dtype),
                torch.cat(self._boxes).to(device),
                torch.cat([some[:-1] for some in groups]).to(device, dtype),
                torch.stack([_share_a_group(some) for some in groups]).to(device),
                torch.tensor(self._owners(), device=device),
                self._counts,
                grid,
            )
        return self._cache[key]

    def _owners(self) -> list[int]:
        return [picture for picture, count in enumerate(self._counts) for _ in range(count)]


def _groups(masks: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """The instances' masks and, last, the background, on the latent grid."""
    masks = masks.float()
    background = 1 - masks.amax(0, keepdim=True)
    return resize_masks(torch.cat([masks, background]), latent_size)


def _share_a_group(groups: Tensor) -> Tensor:
    """True where two tokens both belong to one of ``groups`` (G, S); shape (S, S)."""
    inside = (groups > 0).float()
    return inside.T @ inside > 0
