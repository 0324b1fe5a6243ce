"""The layers of the layout adapter: trained modules that tell a U-Net's layers what is where.

Shapes: B pictures, picture b with N_b instances; R = sum(N_b) rows, picture after picture; S image
tokens of C channels on a (rows, columns) grid; T channels of a text embedding; SLOTS slots.

Source: 3DIS (arXiv 2410.12669), with an adapter like that of MIGC (arXiv 2402.05408). The published
code shuffles the slots at random in every call; here they have one order, so that equal seeds give
equal maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from threedis_ldm3d.box_encoder import BoxEncoder

SLOTS = 30
"""Places for instances and background in a layer's aggregation; the background has the last one."""
MOST_INSTANCES = SLOTS - 1
HEADS = 8


@dataclass(frozen=True, eq=False)
class LayerLayout:
    """The layouts of a batch as one layer sees them. Every picture has an instance.

    Args:
        texts: Pooled text embedding of each instance, shape (R, T).
        boxes: Each instance's box x0, y0, x1, y1 in [0, 1], shape (R, 4).
        masks: How far each token lies in each instance's region, in [0, 1], shape (R, S).
        visible: True where one token may look at another, shape (B, S, S).
        owners: The picture that each instance belongs to, shape (R,).
        counts: N_b of each picture.
        grid: (rows, columns).
    """

    texts: Tensor
    boxes: Tensor
    masks: Tensor
    visible: Tensor
    owners: Tensor
    counts: tuple[int, ...]
    grid: tuple[int, int]


class LayerAdapter(nn.Module):
    """The adapter of one cross-attention layer.

    Args:
        width: C of the layer, a multiple of 8.
        text_width: T.
        box_encoder: The layer's own.
    """

    def __init__(self, width: int, text_width: int, box_encoder: BoxEncoder) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm = nn.LayerNorm(width)
        self.box_encoder = box_encoder
        self.enhancement = HeadedAttention(width, text_width)
        self.layout_attention = HeadedAttention(width, width)
        self.aggregation = ShadingAggregation(width)

    def forward(self, tokens: Tensor, boxes: Tensor, layout: LayerLayout) -> Tensor:
        """What to add to the layer's own cross-attention.

        Args:
            tokens: The layer's image tokens, shape (B, S, C).
            boxes: What the box encoder makes of the layout's boxes, shape (R, T).
            layout: What is where.
        Returns:
            Shape (B, S, C).
        """
        context = torch.stack([layout.texts, boxes], 1)
        enhanced = (
            self.enhancement(self.norm(tokens)[layout.owners], context) * layout.masks[..., None]
        )
        around = self.layout_attention(tokens, tokens, layout.visible[:, None])
        return self.gate.tanh() * self.aggregation(enhanced, around, layout.counts, layout.grid)


class HeadedAttention(nn.Module):
    """Plain attention with 8 heads.

    Args:
        width: Channels of the queries and of the result.
        context_width: Channels of what is looked at.
    """

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context_width, width, bias=False)
        self.value = nn.Linear(context_width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, context: Tensor, visible: Tensor | None = None) -> Tensor:
        """Attend from ``tokens`` (batch, S, C) to ``context`` (batch, K, context channels).

        ``visible``, shape (batch, 1, S, K), is True where that is allowed; None: everywhere.
        """
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in (self.query(tokens), self.key(context), self.value(context))
        )
        found = scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self.out(found.transpose(1, 2).flatten(2))


class ShadingAggregation(nn.Module):
    """Mix the instances and the background of each picture, token by token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, 1, 1)
        self.slot_gate = nn.Sequential(nn.Linear(SLOTS, SLOTS), nn.ReLU(), nn.Linear(SLOTS, SLOTS))
        self.place_gate = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(
        self,
        instances: Tensor,
        background: Tensor,
        counts: Sequence[int],
        grid: tuple[int, int],
    ) -> Tensor:
        """Sum of a picture's parts, weighted at each token.

        Args:
            instances: Shape (R, S, C).
            background: Shape (B, S, C).
            counts: N_b of each picture.
            grid: (rows, columns).
        Returns:
            Shape (B, S, C).
        """
        own, last = self._scores(instances, grid), self._scores(background, grid)
        pictures = [
            self._slots(some, one) for some, one in zip(own.split(list(counts)), last, strict=True)
        ]
        weighed = self._gated(torch.stack(pictures)).flatten(2)
        mixed: list[Tensor] = []
        for picture, parts in enumerate(instances.split(list(counts))):
            used = [*range(len(parts)), SLOTS - 1]
            weights = weighed[picture, used].softmax(0)
            phases = torch.cat([parts, background[picture : picture + 1]])
            mixed.append((phases * weights[..., None]).sum(0))
        return torch.stack(mixed)

    def _scores(self, phases: Tensor, grid: tuple[int, int]) -> Tensor:
        """One number per token: shape (phases, rows, columns)."""
        return self.score(phases.transpose(1, 2).unflatten(2, grid))[:, 0]

    def _slots(self, instances: Tensor, background: Tensor) -> Tensor:
        """All slots of one picture; an empty one has the score of zeros, which is the bias."""
        empty = self.score.bias.expand(SLOTS - 1 - len(instances), *background.shape)  # type: ignore[union-attr]
        return torch.cat([instances, empty, background[None]])

    def _gated(self, slots: Tensor) -> Tensor:
        """CBAM (arXiv 1807.06521): gate the slots, then the places; (B, SLOTS, rows, columns)."""
        averages, greatest = slots.mean((2, 3)), slots.amax((2, 3))
        gate = self.slot_gate(averages) + self.slot_gate(greatest)
        slots = slots * gate.sigmoid()[..., None, None]
        summary = torch.stack([slots.amax(1), slots.mean(1)], 1)
        return slots * self.place_gate(summary).sigmoid()
