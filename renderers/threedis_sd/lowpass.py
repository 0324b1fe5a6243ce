"""The low-pass filter on ControlNet residuals: stage-1 depth is coarse, its fine detail is noise.

Shapes: B pictures, 2B with guidance, C channels, (h, w) the residual's grid.

Source: 3DIS (arXiv 2410.12669), section on rendering control.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from threedis_core.values.regions import Regions
from threedis_sd.options import LowPass

FILTERED_WIDTH = 64
REFERENCE_SIZE = 512
"""Down residuals at most 64 wide are filtered in a picture 512 high, others in proportion."""


def low_pass(residual: Tensor, scale: float = 0.5, divisor: int = 8) -> Tensor:
    """Damp the high spatial frequencies of a feature map.

    Args:
        residual: Feature map, shape (..., h, w), any float dtype.
        scale: Factor for frequencies outside the low-pass rectangle, in [0, 1].
        divisor: The rectangle's half-size is ceil(size / divisor) frequency bins, per axis.
    Returns:
        Same shape and dtype as ``residual``.
    """
    height, width = residual.shape[-2:]
    kept = _kept_bins(height, divisor)[:, None] & _kept_bins(width, divisor)[None, :]
    factor = torch.where(kept, 1.0, scale).to(residual.device)
    spectrum = torch.fft.fft2(residual.float())
    return torch.fft.ifft2(spectrum * factor).real.to(residual.dtype)


def _kept_bins(size: int, divisor: int) -> Tensor:
    """Which of ``size`` frequency bins, in FFT order, lie in the low-pass rectangle."""
    half = math.ceil(size / divisor)
    bins = torch.fft.fftfreq(size, 1 / size).round()
    return (bins >= -half) & (bins < half)


class ResidualFilter:
    """Low-pass a ControlNet's residuals outside every region.

    Args:
        regions: The pictures' regions.
        height: The pictures' height in pixels.
        options: How strong the filter is.
    """

    def __init__(self, regions: Sequence[Regions], height: int, options: LowPass) -> None:
        self._regions = regions
        self._options = options
        self._widest = FILTERED_WIDTH * height / REFERENCE_SIZE
        self._cache: dict[tuple[int, int], Tensor] = {}

    def down(self, residual: Tensor) -> Tensor:
        """Filter a down residual, shape (B or 2B, C, h, w), unless it is too wide."""
        return residual if residual.shape[-1] > self._widest else self.middle(residual)

    def middle(self, residual: Tensor) -> Tensor:
        """Filter the mid residual, shape (B or 2B, C, h, w)."""
        background = self._background(residual)
        background = background.repeat(len(residual) // len(background), 1, 1, 1)
        filtered = low_pass(residual, self._options.scale, self._options.divisor)
        return torch.where(background, filtered, residual)

    def _background(self, residual: Tensor) -> Tensor:
        """Cells that no region touches, bool, shape (B, 1, h, w)."""
        rows, columns = residual.shape[-2:]
        if (rows, columns) not in self._cache:
            touched = [regions.token_masks(rows, columns).any(0) for regions in self._regions]
            background = torch.from_numpy(~np.stack(touched))[:, None]
            self._cache[rows, columns] = background.to(residual.device)
        return self._cache[rows, columns]


@contextmanager
def low_passed(controlnet: nn.Module, lowpass: ResidualFilter) -> Iterator[None]:
    """Filter what the ControlNet gives, while inside."""

    def filtered(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, tuple):
            output.down_block_res_samples = [*map(lowpass.down, output.down_block_res_samples)]
            output.mid_block_res_sample = lowpass.middle(output.mid_block_res_sample)
            return output
        down, middle = output
        return [*map(lowpass.down, down)], lowpass.middle(middle)

    handle = controlnet.register_forward_hook(filtered)
    try:
        yield
    finally:
        handle.remove()
