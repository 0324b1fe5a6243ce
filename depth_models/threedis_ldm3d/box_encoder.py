"""The box encoder of the layout adapter: a box's sides as an embedding like that of a text.

Shapes: R boxes; T channels of a text embedding.

Source: 3DIS (arXiv 2410.12669), with an adapter like that of MIGC (arXiv 2402.05408).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FREQUENCIES = 8
FREQUENCY_BASE = 100.0
"""The frequencies of the Fourier features are its powers 0, 1/8, ... 7/8."""
BOX_WIDTH = 512
"""Channels inside the published box encoder."""


class BoxEncoder(nn.Module):
    """Embed boxes: Fourier features of the sides, then a small network."""

    def __init__(self, text_width: int, width: int = BOX_WIDTH) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(4 * 2 * FREQUENCIES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, text_width),
        )

    def forward(self, boxes: Tensor, dtype: torch.dtype) -> Tensor:
        """Boxes x0, y0, x1, y1, shape (R, 4), to embeddings (R, T) of ``dtype``."""
        sides = boxes.float()[:, [0, 2, 1, 3]]  # the order in which the published weights read them
        powers = torch.arange(FREQUENCIES, device=boxes.device) / FREQUENCIES
        angles = FREQUENCY_BASE ** powers[:, None] * sides[:, None, :]
        features = torch.stack([angles.sin(), angles.cos()], 2)  # (R, frequency, sin or cos, side)
        return self.network(features.flatten(1).to(dtype))
