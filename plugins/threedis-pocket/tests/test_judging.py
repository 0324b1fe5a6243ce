"""The pocket judges: the suites, the benchmark's own verdicts, and pictures that lack something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core import (
    DetectRequest,
    InstanceFinding,
    Layout,
    PictureScore,
    ScoreRequest,
    load_plugins,
)
from threedis_core.compare.scoring.stored import findings_file, read_findings
from threedis_core.errors import LayoutError
from threedis_core.metrics.position import Position, PositionOptions
from threedis_core.testing import DetectorConformance, MetricConformance
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import judge
from threedis_pocket.judging import Pocket, PocketObjects, PocketObjectsOptions, PocketOptions
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.world import draw

LAYOUTS = sample_layouts("validation", 5)


def drawn(layout: Layout) -> Image.Image:
    """The world's own picture of a layout."""
    pixels = draw(layout_scene(layout)).rgb[0] * 255
    return Image.fromarray(pixels.round().byte().permute(1, 2, 0).numpy())


def found(layout: Layout, picture: Image.Image) -> tuple[InstanceFinding, ...]:
    detector = PocketObjects(PocketObjectsOptions())
    return detector.detect([DetectRequest(layout, picture)])[0]


def scored(layout: Layout, picture: Image.Image) -> PictureScore:
    request = ScoreRequest(layout, found(layout, picture), lambda: picture)
    return Pocket(PocketOptions()).score([request])[0]


class TestPocketObjects(DetectorConformance):
    plugin_module = "threedis_pocket"
    size = (128, 128)

    def make_detector(self, **options: Any) -> PocketObjects:
        return PocketObjects(PocketObjectsOptions(**options))


class TestPocket(MetricConformance):
    plugin_module = "threedis_pocket"
    size = (128, 128)

    def make_metric(self, **options: Any) -> Pocket:
        return Pocket(PocketOptions(**options))

    def layout(self, instances: int) -> Layout:
        return next(
            one
            for one in sample_layouts("validation", 60)
            if len(one.instances) == max(2, instances)
        )

    def findings(self, layout: Layout, picture: Image.Image) -> tuple[InstanceFinding, ...]:
        return found(layout, picture)


def test_both_are_listed_and_belong_together() -> None:
    registry = load_plugins()
    assert registry.metric("pocket").detector == "pocket-objects"
    assert isinstance(registry.instance_detector("pocket-objects"), PocketObjects)


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_the_verdicts_are_those_of_the_benchmark_after_a_file_too(number: int) -> None:
    layout, other = LAYOUTS[number], LAYOUTS[number - 1]
    picture = np.asarray(drawn(layout)).copy()
    picture[:, :64] = np.asarray(drawn(other))[:, :64]
    expected = judge(layout, picture, Detector())
    image = Image.fromarray(picture)
    detector = PocketObjects(PocketObjectsOptions())
    content = findings_file("pocket-objects", detector, "job", found(layout, image))
    request = ScoreRequest(layout, read_findings(content), lambda: pytest.fail("needs no picture"))
    score = Pocket(PocketOptions()).score([request])[0]
    keys = ("found", "colour", "right", "iou", "shape")
    assert [tuple(row[key] for key in keys) for row in score.instances] == [
        (one.there, one.colour, one.right, one.iou, one.shape) for one in expected
    ]
    assert score.picture["image"] == all(one.right for one in expected)


def test_the_worlds_own_pictures_are_right_and_boxes_are_of_the_noun() -> None:
    rows = [row for layout in LAYOUTS for row in scored(layout, drawn(layout)).instances]
    assert np.mean([bool(row["right"]) for row in rows]) > 0.95
    layout = LAYOUTS[0]
    for instance, finding in zip(layout.instances, found(layout, drawn(layout)), strict=True):
        assert all(box.label.endswith(instance.noun) for box in finding.boxes)
        assert finding.masks[0].mask is not None


def test_average_precision_of_the_worlds_own_pictures_is_high() -> None:
    metric = Position(PositionOptions(detector="pocket-objects"))
    scores = metric.score(
        [
            ScoreRequest(one, found(one, drawn(one)), lambda: pytest.fail("no picture"))
            for one in LAYOUTS
        ]
    )
    assert metric.pool(scores)(np.ones((1, len(LAYOUTS))))["ap50"][0] > 0.8


def test_nothing_is_right_in_a_grey_picture_or_one_that_is_missing() -> None:
    layout = LAYOUTS[0]
    grey = scored(layout, Image.new("RGB", (128, 128), (140, 140, 140)))
    missing = Pocket(PocketOptions()).missing(layout)
    assert grey.picture["image"] is missing.picture["image"] is False
    assert [dict(row) for row in grey.instances] == [dict(row) for row in missing.instances]
    assert all(one.masks[0].mask is None for one in found(layout, Image.new("RGB", (128, 128))))


def test_other_worlds_are_refused_by_name() -> None:
    cat = {"prompt": "x", "instances": [{"prompt": "a red cat", "box": [0.1, 0.1, 0.5, 0.5]}]}
    plain = {"prompt": "x", "instances": [{"prompt": "a cube", "box": [0.1, 0.1, 0.5, 0.5]}]}
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(LayoutError, match=r"instances\[0\] is 'cat'"):
        found(Layout.from_dict(cat), picture)
    with pytest.raises(LayoutError, match=r"instances\[0\] \('a cube'\) names no single colour"):
        scored(Layout.from_dict(plain), picture)
    request = ScoreRequest(
        LAYOUTS[0], tuple(InstanceFinding() for _ in LAYOUTS[0].instances), drawn
    )
    with pytest.raises(LayoutError, match="not of 'pocket-objects'"):
        Pocket(PocketOptions()).score([request])
