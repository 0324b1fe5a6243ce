"""The bootstrap against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from threedis_core.compare.statistics.estimates import Sampled
from threedis_core.compare.statistics.quantities import Ratios

RESAMPLES = 20_000


def ratio(top: np.ndarray, bottom: np.ndarray, axis: int = -1) -> np.ndarray:
    return top.sum(axis=axis) / bottom.sum(axis=axis)


@pytest.mark.parametrize(("layouts", "skew"), [(30, 0.5), (120, 4.0)])
def test_the_interval_is_scipys_bca(layouts: int, skew: float) -> None:
    random = np.random.default_rng(layouts)
    bottom = random.integers(2, 7, layouts).astype(float)
    top = random.binomial(bottom.astype(int), random.beta(1, skew, layouts)).astype(float)
    expected = stats.bootstrap(
        (top, bottom), ratio, paired=True, n_resamples=RESAMPLES, method="BCa", rng=random
    ).confidence_interval
    sampled = Sampled.of(Ratios(top[:, None], bottom[:, None]), RESAMPLES)
    found = sampled.estimate(0, lambda: None).interval
    width = expected.high - expected.low
    assert found.kind == "bca"
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


def test_the_interval_of_a_difference_is_scipys_bca() -> None:
    random = np.random.default_rng(5)
    bottom = random.integers(2, 7, 60).astype(float)
    hard = random.beta(2, 2, 60)
    tops = [random.binomial(bottom.astype(int), hard**power).astype(float) for power in (1, 2)]

    def difference(one, other, below, axis=-1) -> np.ndarray:
        return ratio(one, below, axis) - ratio(other, below, axis)

    expected = stats.bootstrap(
        (*tops, bottom), difference, paired=True, n_resamples=RESAMPLES, rng=random
    ).confidence_interval
    sampled = Sampled.of(Ratios(np.stack(tops, 1), np.stack([bottom] * 2, 1)), RESAMPLES)
    found = sampled.difference(0, 1)
    width = expected.high - expected.low
    assert found.interval.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.interval.high == pytest.approx(expected.high, abs=0.03 * width)
    assert found.smallest_detectable == pytest.approx(2.8016 * width / 3.92, rel=0.1)
