"""Clustered data, many times: what 95 % and 5 % promise, and what pooled instances would do.

Instances of one layout succeed or fail together: each layout has a difficulty of its own, each
picture a luck of its own, and full layouts are harder.
"""

from __future__ import annotations

import numpy as np

from threedis_core.compare.statistics.estimates import Sampled
from threedis_core.compare.statistics.quantities import Ratios
from threedis_core.compare.statistics.swapping import swap_p_value

LAYOUTS, SEEDS = 100, 4
MEANS = {2: 0.7, 3: 0.6, 4: 0.5, 5: 0.4, 6: 0.3}
TRUTH = sum(n * mean for n, mean in MEANS.items()) / sum(MEANS)
"""Of all layouts there could be: a mean over instances."""


def simulated(random: np.random.Generator, systems: int, times: int) -> Ratios:
    """Right instances of ``systems`` alike systems on the same layouts, ``times`` times.

    Shape (L, times * systems): the columns of one time stand together.
    """
    counts = random.integers(2, 7, (LAYOUTS, times))
    means = np.vectorize(MEANS.get)(counts)
    hard = random.beta(2 * means, 2 * (1 - means))[:, :, None, None]
    luck = random.beta(5 * hard, 5 * (1 - hard), (LAYOUTS, times, systems, SEEDS))
    right = random.binomial(counts[:, :, None, None], luck).sum(axis=3)
    shown = np.repeat(counts * SEEDS, systems, axis=1)
    return Ratios(right.reshape(LAYOUTS, -1).astype(float), shown.astype(float))


def test_95_percent_intervals_cover_the_truth_at_least_93_times_of_100() -> None:
    random = np.random.default_rng(1)
    ratios = simulated(random, systems=1, times=1500)
    sampled = Sampled.of(ratios, 1999)
    hits = pooled_hits = 0
    for column in range(1500):
        interval = sampled.estimate(column, lambda: None).interval
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= TRUTH <= interval.high
        shown = ratios.denominator[:, column].sum()
        share = ratios.numerator[:, column].sum() / shown
        pooled_hits += abs(share - TRUTH) <= 1.96 * (share * (1 - share) / shown) ** 0.5
    assert hits / 1500 >= 0.93
    assert pooled_hits / 1500 < 0.85  # what a simulation without clusters would not show


def test_a_true_null_is_rejected_at_most_7_times_of_100() -> None:
    random = np.random.default_rng(2)
    times = 1000
    ratios = simulated(random, systems=2, times=times)
    rejected = 0
    for time in range(times):
        both = [2 * time, 2 * time + 1]
        pair = Ratios(ratios.numerator[:, both], ratios.denominator[:, both])
        rejected += swap_p_value(pair, 0, 1, draws=999) < 0.05
    assert 0.03 <= rejected / times <= 0.07


def test_a_difference_of_the_smallest_detectable_size_is_mostly_found() -> None:
    random = np.random.default_rng(3)
    ratios = simulated(random, systems=2, times=300)
    sampled = Sampled.of(ratios, 999)
    found = 0
    for time in range(300):
        one, other = 2 * time, 2 * time + 1
        apart = sampled.difference(one, other).smallest_detectable
        assert apart is not None
        top = ratios.numerator[:, [one, other]].copy()
        top[:, 0] += apart * ratios.denominator[:, one]
        found += swap_p_value(Ratios(top, ratios.denominator[:, [one, other]]), 0, 1, 999) < 0.05
    assert 0.7 <= found / 300 <= 0.9
