"""The low-pass filter on ControlNet residuals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions
from threedis_sd.lowpass import ResidualFilter, low_pass, low_passed
from threedis_sd.options import LowPass


def one_region(xyxy: tuple[float, float, float, float], height: int, width: int) -> Regions:
    return Regions((Box.from_xyxy(xyxy),), (None,), height, width)


@pytest.mark.parametrize("size", ["16x16", "7x7", "8x8"])
def test_the_filter_equals_the_published_one(
    size: str, golden_tensors: Callable[[str], dict[str, Tensor]]
) -> None:
    tensors = golden_tensors("lowpass")
    expected = tensors[f"out.{size}"]
    difference = (low_pass(tensors[f"in.{size}"]) - expected).abs().max()
    assert difference / expected.std() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(6, 14), (1, 5), (9, 16)])
def test_height_and_width_are_treated_alike(height: int, width: int) -> None:
    residual = torch.randn(2, 3, height, width)
    turned = low_pass(residual.transpose(-1, -2), 0.3, 4).transpose(-1, -2)
    torch.testing.assert_close(low_pass(residual, 0.3, 4), turned)


def test_what_is_constant_stays_and_what_alternates_is_damped() -> None:
    constant = torch.full((1, 1, 16, 16), 3.0)
    alternating = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    torch.testing.assert_close(low_pass(constant), constant)
    torch.testing.assert_close(low_pass(alternating, scale=0.25), 0.25 * alternating)


def test_a_scale_of_one_changes_nothing_and_half_precision_stays() -> None:
    residual = torch.randn(1, 2, 12, 10).half()
    filtered = low_pass(residual, scale=1.0)
    assert filtered.dtype == torch.float16
    torch.testing.assert_close(filtered, residual, rtol=1e-3, atol=1e-3)


def test_cells_that_a_region_touches_keep_their_values() -> None:
    regions = [one_region((0.3, 0.3, 0.55, 0.8), 64, 64), Regions((), (), 64, 64)]
    residual = torch.randn(4, 3, 8, 8)
    made = ResidualFilter(regions, 64, LowPass()).middle(residual)
    touched = torch.zeros(8, 8, dtype=torch.bool)
    touched[2:7, 2:5] = True
    filtered = low_pass(residual)
    for half in (0, 2):
        torch.testing.assert_close(made[half][:, touched], residual[half][:, touched])
        torch.testing.assert_close(made[half][:, ~touched], filtered[half][:, ~touched])
        torch.testing.assert_close(made[half + 1], filtered[half + 1])


def test_down_residuals_above_the_limit_are_left_alone() -> None:
    lowpass = ResidualFilter([Regions((), (), 64, 64)], 64, LowPass())
    wide, fitting = torch.randn(1, 2, 9, 9), torch.randn(1, 2, 8, 8)
    assert lowpass.down(wide) is wide
    torch.testing.assert_close(lowpass.down(fitting), low_pass(fitting))


class TwoResiduals(nn.Module):
    """Gives what a ControlNet gives: the down residuals and the mid residual."""

    def forward(self, sample: Tensor) -> tuple[list[Tensor], Tensor]:
        return [sample], sample


def test_the_filter_is_gone_after_an_exception() -> None:
    model, sample = TwoResiduals(), torch.randn(1, 2, 8, 8)
    lowpass = ResidualFilter([Regions((), (), 64, 64)], 64, LowPass())
    with low_passed(model, lowpass):
        down, middle = model(sample)
    torch.testing.assert_close(down[0], low_pass(sample))
    torch.testing.assert_close(middle, low_pass(sample))
    with pytest.raises(TypeError), low_passed(model, lowpass):
        model()
    assert model(sample)[1] is sample
