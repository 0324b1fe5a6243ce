"""The core's measure of presence on exact depth of the pocket world, as it is and changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from threedis_core.plugin.discovery import load_plugins
from threedis_core.presence.measure import SEEN, presence_scores
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_pocket.bench.presence import CHANGES, bench_exact, bench_model, print_presence
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.world import draw

SIDE = 128


def exact(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Depth and the visible instance of every pixel."""
    drawing = draw(layout_scene(layout), SIDE, SIDE, supersample=1)
    return drawing.depth[0].numpy(), drawing.ids[0].numpy()


def without(layout: Layout, number: int) -> Layout:
    rest = layout.instances[:number] + layout.instances[number + 1 :]
    return layout.model_copy(update={"instances": rest})


def estimated(depth: np.ndarray) -> np.ndarray:
    """Blurred, noisy, bent and stretched, as an estimator's map is."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(0, 0.03, depth.shape), 1)
    bent = np.clip(ndimage.gaussian_filter(depth, 1.2) + noise, 0, None) ** 0.8
    return bent / bent.max()


@pytest.mark.parametrize(
    ("change", "detected"),
    [
        (lambda depth: depth, 0.99),
        (lambda depth: ndimage.gaussian_filter(depth, 1.5), 0.98),
        (estimated, 0.98),
    ],
    ids=["exact", "blurred", "estimated"],
)
def test_few_warnings_are_false_and_what_was_left_out_is_missed(
    change: Callable[[np.ndarray], np.ndarray], detected: float
) -> None:
    false, missed, count, gone = 0, 0, 0, 0
    for layout in sample_layouts("validation", 24):
        depth, ids = exact(layout)
        scores = presence_scores(layout, DepthMap(change(depth)))
        for number in range(len(layout.instances)):
            score = scores[number]
            false += score is not None and score < SEEN
            count += 1
            rest = without(layout, number)
            alone = exact(layout.model_copy(update={"instances": (layout.instances[number],)}))[1]
            if (ids == number).sum() < 0.5 * (alone >= 0).sum():
                continue
            absent = presence_scores(layout, DepthMap(change(exact(rest)[0])))[number]
            missed += absent is not None and absent < SEEN
            gone += 1
    assert false <= 0.01 * count, f"{false} of {count}"
    assert missed >= detected * gone, f"{missed} of {gone}"


def test_the_benchmark_measures_warnings_on_exact_and_on_made_maps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    layouts = sample_layouts("validation", 4)
    exact = bench_exact(layouts)
    assert set(exact) == set(CHANGES)
    assert exact["exact"]["false"]["value"] == 0
    assert exact["exact"]["said"]["value"] == 1
    made = bench_model(load_plugins(), "pocket-scene", layouts, (1, 2))
    assert list(made) == ["pocket-scene, 1 try", "pocket-scene, 2 tries", "exact depth"]
    assert made["pocket-scene, 2 tries"] == made["exact depth"]
    print_presence(made)
    assert "unsaid" in capsys.readouterr().out
