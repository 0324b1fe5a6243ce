"""Cases small enough to compute by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from threedis_core.compare.statistics.estimates import Sampled
from threedis_core.compare.statistics.intervals import bca_interval, wilson_interval
from threedis_core.compare.statistics.layouts import mean_of_layouts
from threedis_core.compare.statistics.quantities import Pooled, Ratios
from threedis_core.compare.statistics.resamples import drawn_layouts, left_out, swaps
from threedis_core.compare.statistics.swapping import holm, swap_p_value

# Three layouts of 2, 4 and 2 instances in all seeds; right of system A: 2, 1, 2; of B: 1, 0, 0.
TOP = np.array([[2.0, 1], [1, 0], [2, 0]])
BOTTOM = np.array([[2.0, 2], [4, 4], [2, 2]])
RATIOS = Ratios(TOP, BOTTOM)


def test_a_figure_is_the_sum_over_the_sum() -> None:
    assert RATIOS.values(np.ones((1, 3)))[0].tolist() == [5 / 8, 1 / 8]
    assert RATIOS.values(np.array([[0.0, 2, 1]]))[0].tolist() == [4 / 10, 0]
    assert np.isnan(RATIOS.values(np.zeros((1, 3)))).all()


def test_the_sign_flips_of_three_layouts_are_eight() -> None:
    # Differences 1, 1, 2 of a common denominator: |+-1 +-1 +-2| >= 4 in 2 of 8 ways.
    assert swap_p_value(RATIOS, 0, 1) == 2 / 8
    signs = itertools.product((1, -1), repeat=3)
    by_hand = sorted(abs(a * 1 + b * 1 + c * 2) / 8 for a, b, c in signs)
    block = next(iter(swaps(3)))
    found = sorted(np.abs(RATIOS.swapped(0, 1, block)))
    assert found == pytest.approx(by_hand)


def test_layouts_change_places_with_their_denominators() -> None:
    ratios = Ratios(np.array([[1.0, 3], [0, 1]]), np.array([[1.0, 4], [2, 1]]))
    # Swapped in the first layout: A has 3/4 and 0/2, B has 1/1 and 1/1.
    assert ratios.swapped(0, 1, np.array([[1.0, 0]]))[0] == pytest.approx(3 / 6 - 2 / 2)


def test_systems_that_are_the_same_have_a_p_value_of_one() -> None:
    same = Ratios(TOP[:, [0, 0]], BOTTOM)
    assert swap_p_value(same, 0, 1) == 1.0
    nothing = Ratios(np.zeros((3, 2)), np.zeros((3, 2)))
    assert swap_p_value(nothing, 0, 1) == 1.0


def test_random_swaps_count_the_observed_one_too() -> None:
    certain = Ratios(np.stack([np.ones(40), np.zeros(40)], axis=1), np.ones((40, 2)))
    assert swap_p_value(certain, 0, 1, draws=99) == 1 / 100


def test_holm_multiplies_and_never_lets_a_later_one_be_smaller() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilsons_interval_of_ten_layouts_that_are_all_right() -> None:
    # z = 1.96: low = 1 / (1 + z**2 / n) = 10 / 13.8415.
    interval = wilson_interval(10, 10)
    assert interval.low == pytest.approx(10 / 13.8415, abs=1e-4)
    assert (interval.high, interval.kind) == (1.0, "wilson")
    assert wilson_interval(0, 10).high == pytest.approx(3.8415 / 13.8415, abs=1e-4)
    half = wilson_interval(5, 10)  # (5 + z**2 / 2) / (n + z**2) -+ ...
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_where_all_layouts_agree_the_number_of_layouts_makes_the_interval() -> None:
    right = mean_of_layouts([1, 1, 1, 1, 1, 1], ["a", "a", "b", "b", "c", "c"])
    assert right.value == 1
    assert right.interval == wilson_interval(3, 3)
    assert mean_of_layouts([0, 0], ["a", "b"]).interval == wilson_interval(0, 2)
    assert mean_of_layouts([0.5, 0.5], ["a", "b"]).interval.kind == "none"
    assert mean_of_layouts([0.7], ["a"]).interval.kind == "none"
    assert mean_of_layouts([], []).value is None


def test_a_resample_has_as_many_layouts_as_there_are() -> None:
    counts = np.concatenate(list(drawn_layouts(7, 999)))
    assert counts.shape == (999, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert np.array_equal(counts, np.concatenate(list(drawn_layouts(7, 999))))
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    many = [block.shape for block in drawn_layouts(3000, 2000)]
    assert len(many) > 1
    assert sum(rows for rows, _ in many) == 2000
    assert np.array_equal(np.concatenate(list(left_out(3))), 1 - np.eye(3))


def test_the_difference_of_two_columns_comes_from_the_same_resamples() -> None:
    random = np.random.default_rng(0)
    hard = random.uniform(0.1, 0.9, 50)
    top = np.stack([hard, hard - 0.05], axis=1)  # always a twentieth apart, however hard
    sampled = Sampled.of(Ratios(top, np.ones((50, 2))))
    apart = sampled.difference(0, 1)
    assert apart.value == pytest.approx(0.05)
    single = sampled.estimate(0, lambda: None)
    assert single.interval.low is not None
    assert single.interval.high is not None
    assert single.interval.high - single.interval.low > 0.05
    assert apart.interval.kind == "none"  # all resamples have the same difference


def test_what_is_pooled_is_weighted_and_swapped_by_layout() -> None:
    values = np.array([1.0, 0, 1, 0, 0, 1])  # pictures of two systems, of three layouts
    layout, column = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1])

    def pool(places) -> Callable[[np.ndarray], np.ndarray]:
        def two_figures(weights) -> np.ndarray:
            mean = weights @ values[places] / weights.sum(axis=1)
            return np.stack([mean, 2 * mean], axis=1)

        return two_figures

    pooled = Pooled(layout, column, 2, 3, pool)
    ratios = Ratios(np.array([[1.0, 0], [0, 0], [1, 1]]), np.ones((3, 2)))
    counts = np.array([[1.0, 2, 0], [1, 1, 1]])
    expected = ratios.values(counts)
    assert pooled.values(counts) == pytest.approx(np.concatenate([expected, 2 * expected], axis=1))
    block = next(iter(swaps(3)))
    assert pooled.swapped(0, 1, block) == pytest.approx(ratios.swapped(0, 1, block))
    assert pooled.swapped(2, 3, block) == pytest.approx(2 * ratios.swapped(0, 1, block))
    assert swap_p_value(pooled, 0, 1) == swap_p_value(ratios, 0, 1) == 1.0


def test_an_interval_that_bca_cannot_make_says_that_it_is_of_percentiles() -> None:
    resampled = np.linspace(0.5, 1, 101)
    interval = bca_interval(0.4, resampled, np.array([0.4, 0.5]))
    assert interval.kind == "percentile"
    assert (interval.low, interval.high) == pytest.approx((0.5125, 0.9875))
