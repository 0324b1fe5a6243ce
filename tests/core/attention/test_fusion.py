"""The fusion weights of U-Nets."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.errors import RenderError

CPU = torch.device("cpu")


def halves(instances: int, side: int = 64) -> Tensor:
    """The same mask ``instances`` times: the left half of the picture."""
    masks = torch.zeros(instances, side, side)
    masks[:, :, : side // 2] = 1
    return masks


def weights(plan: FusionPlan, tokens: int) -> Tensor:
    return plan.weights(tokens, torch.float32, CPU)


@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    alpha=st.floats(0, 50),
    background=st.none() | st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_the_weights_of_a_picture_sum_to_one_at_every_token(
    counts: list[int], alpha: float, background: float | None, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = [torch.rand(count, 40, 56, generator=generator).round() for count in counts]
    plan = FusionPlan(masks, (5, 7), alpha, background)
    for tokens in (35, 12, 4):
        made = weights(plan, tokens)
        assert made.shape == (sum(counts) + len(counts), tokens)
        assert made.min() >= 0
        for part in made.split(list(plan.counts)):
            torch.testing.assert_close(part.sum(0), torch.ones(tokens))


def test_an_instance_alone_in_its_mask_has_nearly_all_the_weight() -> None:
    masks = torch.cat([halves(1), halves(5).flip(-1)])
    inside = weights(FusionPlan([masks], (8, 8)), 64).view(7, 8, 8)[1, :, 0]
    expected = math.exp(10) / (math.exp(10) + math.e + 5)
    torch.testing.assert_close(inside, torch.full((8,), expected))


def test_outside_all_masks_the_global_prompt_shares_with_the_instances_as_published() -> None:
    outside = weights(FusionPlan([halves(6)], (8, 8)), 64).view(7, 8, 8)[0, :, -1]
    torch.testing.assert_close(outside, torch.full((8,), math.e / (math.e + 6)))


def test_a_background_weight_of_one_leaves_the_background_to_the_global_prompt() -> None:
    published = weights(FusionPlan([halves(3)], (8, 8)), 64).view(4, 8, 8)
    kept = weights(FusionPlan([halves(3)], (8, 8), background_weight=1.0), 64).view(4, 8, 8)
    torch.testing.assert_close(kept[0, :, 4:], torch.ones(8, 4))
    torch.testing.assert_close(kept[:, :, :4], published[:, :, :4])


def test_a_background_weight_is_a_lower_bound_not_a_factor() -> None:
    plan = FusionPlan([halves(1)], (8, 8), background_weight=0.5)
    outside = weights(plan, 64).view(2, 8, 8)[0, :, -1]
    torch.testing.assert_close(outside, torch.full((8,), math.e / (math.e + 1)))


def test_a_picture_without_instances_is_all_global() -> None:
    plan = FusionPlan([halves(0), halves(2)], (8, 8), background_weight=0.7)
    assert plan.counts == (1, 3)
    assert plan.row_pictures() == [0, 1, 1, 1]
    torch.testing.assert_close(weights(plan, 64)[0], torch.ones(64))


def test_weights_are_computed_once_per_grid() -> None:
    plan = FusionPlan([halves(2)], (8, 8))
    assert weights(plan, 16) is weights(plan, 16)
    assert weights(plan, 16) is not weights(plan, 64)


@pytest.mark.parametrize(
    ("latent", "tokens", "grid"),
    [
        ((8, 8), 64, (8, 8)),
        ((8, 8), 4, (2, 2)),
        ((5, 9), 15, (3, 5)),
        ((5, 9), 6, (2, 3)),
        ((1, 6), 3, (1, 3)),
        ((12, 20), 60, (6, 10)),
    ],
)
def test_the_token_count_tells_a_layers_grid(
    latent: tuple[int, int], tokens: int, grid: tuple[int, int]
) -> None:
    assert FusionPlan([halves(1)], latent).grid(tokens) == grid


def test_a_token_count_that_no_halving_gives_is_refused() -> None:
    with pytest.raises(RenderError, match="17 image tokens"):
        FusionPlan([halves(1)], (8, 8)).grid(17)


def test_a_mask_that_falls_between_the_latent_pixels_is_told() -> None:
    masks = torch.zeros(3, 64, 64)
    masks[0, :8, :8] = 1
    masks[1, 10, 10] = 1
    assert FusionPlan([masks], (8, 8)).lost(0) == [1, 2]
