from __future__ import annotations

import json

import numpy as np
import pytest

from threedis_core.values.layout import Layout
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import (
    GROUPS,
    METRICS,
    Judgement,
    instance_layouts,
    judge,
    mean_figure,
    summarise,
)
from threedis_pocket.bench.pictures import exact_ceiling
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.world import draw


def exact_picture(layout: Layout) -> np.ndarray:
    return (draw(layout_scene(layout)).rgb[0] * 255).byte().permute(1, 2, 0).numpy()


def test_exact_pictures_of_held_out_layouts_are_nearly_all_right() -> None:
    judged = exact_ceiling(sample_layouts("validation", 64))
    assert sum(j.colour for j in judged) == len(judged)
    assert sum(j.right for j in judged) / len(judged) >= 0.98


def test_swapped_colours_are_wrong() -> None:
    layout = next(lay for lay in sample_layouts("validation", 20) if len(lay.instances) == 3)
    first, second, third = layout.instances
    swapped = layout.model_copy(
        update={
            "instances": (
                first.model_copy(update={"prompt": second.prompt}),
                second.model_copy(update={"prompt": first.prompt}),
                third,
            )
        }
    )
    judged = judge(swapped, exact_picture(layout), Detector())
    assert [j.colour for j in judged] == [False, False, True]
    assert [j.iou > 0 for j in judged] == [False, False, True]


def test_a_grey_picture_is_wrong_everywhere() -> None:
    layout = sample_layouts("validation", 1)[0]
    grey = np.full((128, 128, 3), 140, np.uint8)
    assert not any(j.colour or j.iou for j in judge(layout, grey, Detector()))


def test_shared_means_another_instance_has_the_same_shape() -> None:
    for layout in sample_layouts("validation", 12):
        labels = [i.label for i in layout.instances]
        judged = judge(layout, exact_picture(layout), Detector())
        assert [j.shared for j in judged] == [labels.count(label) > 1 for label in labels]


def test_the_summary_counts_instances_and_pictures_by_group() -> None:
    judged = [
        Judgement(0, True, True, 0.9),
        Judgement(0, False, True, 0.3),
        Judgement(1, True, False, 0.0, layout=1),
        Judgement(1, True, True, 0.6, layout=1),
    ]
    table = summarise(judged)
    assert set(table) == set(METRICS)
    assert all(set(groups) == set(GROUPS) for groups in table.values())
    assert table["colour"]["all"]["value"] == 0.75
    assert table["colour_iou"]["all"]["value"] == 0.5
    assert table["iou"]["all"]["value"] == pytest.approx(0.45)
    assert table["image"]["all"]["value"] == 0
    assert table["image"]["shared"] | {"low": 0, "high": 0} == {
        "value": 0.5,
        "low": 0,
        "high": 0,
        "n": 2,
    }
    colour = table["colour"]["all"]
    assert 0 <= colour["low"] < colour["value"] < colour["high"] <= 1


def test_a_figure_of_nothing_is_none_and_valid_json() -> None:
    table = summarise([Judgement(0, True, True, 0.9)])
    assert table["colour"]["unshared"] == {"value": None, "low": None, "high": None, "n": 0}
    assert table["iou"]["all"] == {"value": 0.9, "low": None, "high": None, "n": 1}
    json.dumps(table, allow_nan=False)


def test_an_interval_is_of_layouts_and_wider_than_one_of_instances() -> None:
    random = np.random.default_rng(0)
    hits, layouts = [], []
    for layout, hard in enumerate(random.beta(1, 1, 60)):
        hits += (random.uniform(size=12) < hard).tolist()
        layouts += [layout] * 12
    figure, alone = mean_figure(hits, layouts), mean_figure(hits, range(len(hits)))
    assert figure["value"] == alone["value"] == np.mean(hits)
    assert figure["high"] - figure["low"] > 1.5 * (alone["high"] - alone["low"])
    certain = mean_figure([True] * 40, [n // 4 for n in range(40)])
    assert certain == {"value": 1.0, "low": pytest.approx(0.7225, abs=1e-4), "high": 1.0, "n": 40}


def test_instances_are_told_apart_by_their_layouts() -> None:
    layouts = [lay for lay in sample_layouts("validation", 6) if len(lay.instances) < 4][:2]
    counts = [len(lay.instances) for lay in layouts]
    assert instance_layouts(layouts, 2) == [0] * 2 * counts[0] + [1] * 2 * counts[1]
    first = judge(layouts[1], exact_picture(layouts[1]), Detector(), 3, 1)
    assert {(one.picture, one.layout) for one in first} == {(3, 1)}
