"""The suites pass right judges, and every check fails one that is wrong in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ConfigDict

from threedis_core import BackendOptions, Figure, FoundBox, InstanceFinding, PictureScore
from threedis_core.errors import RenderError
from threedis_core.metrics.coco_mig import CocoMig, CocoMigOptions
from threedis_core.metrics.position import Position, PositionOptions
from threedis_core.plugin.progress import silent
from threedis_core.testing import (
    DetectorConformance,
    FakeDetector,
    FakeMetric,
    MetricConformance,
)
from threedis_core.values.layout import Layout


class DetectorSuite(DetectorConformance):
    plugin_module = "threedis_core.refiners"
    detector: ClassVar[type[FakeDetector]] = FakeDetector

    def make_detector(self, **options: Any) -> FakeDetector:
        return self.detector(self.detector.Options(**options))


class TestFakeDetector(DetectorSuite):
    """Every check passes, none is skipped."""


class MetricSuite(MetricConformance):
    plugin_module = "threedis_core.metrics"
    metric: ClassVar[type[FakeMetric]] = FakeMetric

    def make_metric(self, **options: Any) -> FakeMetric:
        return self.metric(self.metric.Options(**options))


class TestFakeMetric(MetricSuite):
    """Every check passes but the one of pooled figures."""


class TestCocoMig(MetricConformance):
    plugin_module = "threedis_core.metrics"

    def layout(self, instances: int) -> Layout:
        layout = super().layout(instances)  # of colours of which COCO-MIG knows not all
        colours = [one.model_copy(update={"prompt": "a red cube"}) for one in layout.instances]
        return layout.model_copy(update={"instances": tuple(colours)})

    def make_metric(self, **options: Any) -> CocoMig:
        return CocoMig(CocoMigOptions(**options))


class TestPosition(MetricConformance):
    plugin_module = "threedis_core.metrics"

    def make_metric(self, **options: Any) -> Position:
        return Position(PositionOptions(**options))


Findings = list[tuple[InstanceFinding, ...]]


def wrong(change: Callable[[FakeDetector, Findings], Any]) -> type[FakeDetector]:
    class Wrong(FakeDetector):
        def detect(self, requests, progress=silent) -> Any:
            return change(self, super().detect(requests, progress))

    return Wrong


def each_box(change: Callable[[FoundBox], FoundBox]) -> type[FakeDetector]:
    return wrong(
        lambda _, found: [
            tuple(replace(one, boxes=tuple(map(change, one.boxes))) for one in some)
            for some in found
        ]
    )


class Loose(BackendOptions):
    model_config = ConfigDict(extra="ignore")


class LooseDetector(FakeDetector):
    Options = type("LooseOptions", (FakeDetector.Options, Loose), {})


class Stubborn(FakeDetector):
    def detect(self, requests, progress=silent) -> Findings:
        return super().detect(requests)


class Forgets(FakeDetector):
    """After an exception it finds nothing."""

    broken = False

    def detect(self, requests, progress=silent) -> Findings:
        if self.broken:
            return [tuple(InstanceFinding() for _ in r.layout.instances) for r in requests]
        try:
            return super().detect(requests, progress)
        except BaseException:
            self.broken = True
            raise


class ClosesForGood(FakeDetector):
    closed = False

    def close(self) -> None:
        self.closed = True

    def detect(self, requests, progress=silent) -> Findings:
        found = super().detect(requests, progress)
        return [tuple(InstanceFinding() for _ in some) for some in found] if self.closed else found


class Learns(FakeDetector):
    """Every call moves its boxes a little."""

    calls = 0

    def detect(self, requests, progress=silent) -> Findings:
        self.calls += 1
        found = super().detect(requests, progress)
        return [
            tuple(InstanceFinding((FoundBox((0, 0, 1, 1), self.calls / 100),)) for _ in some)
            for some in found
        ]


class Paints(FakeDetector):
    def detect(self, requests, progress=silent) -> Findings:
        for request in requests:
            request.image.putpixel((0, 0), (1, 2, 3))
        return super().detect(requests, progress)


class Mixes(FakeDetector):
    """The first picture of a batch stands for all."""

    def detect(self, requests, progress=silent) -> Findings:
        first = [replace(request, image=requests[0].image) for request in requests]
        return super().detect(first, progress)


WRONG_DETECTORS = {
    "test_each_request_gives_a_finding_for_every_instance": wrong(lambda _, found: found[:1]),
    "test_boxes_are_fractions_in_order_and_scores_are_shares": each_box(
        lambda box: replace(box, xyxy=tuple(side * 64 for side in box.xyxy))
    ),
    "test_the_same_picture_gives_the_same_finding": Learns,
    "test_a_finding_of_a_batch_is_the_one_its_picture_gives_alone": Mixes,
    "test_a_layout_without_instances_gives_no_finding": wrong(
        lambda _, found: [some or (InstanceFinding(),) for some in found]
    ),
    "test_requests_are_left_as_they_were": Paints,
    "test_closing_and_detecting_again_gives_the_same_finding": ClosesForGood,
    "test_it_ends_at_the_step_at_which_progress_raises": Stubborn,
    "test_an_unknown_option_is_refused": LooseDetector,
}


@pytest.mark.parametrize("check", WRONG_DETECTORS)
def test_a_wrong_detector_fails_its_check(check: str) -> None:
    class Suite(DetectorSuite):
        detector = WRONG_DETECTORS[check]

    with pytest.raises((AssertionError, RenderError, pytest.fail.Exception)):
        getattr(Suite(), check)()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda box: replace(box, score=1.5), "no share"),
        (lambda box: replace(box, xyxy=(0.5, 0.1, 0.4, 0.2)), "right side first"),
        (lambda box: replace(box, xyxy=(0.1, 0.3, 0.4, 0.2)), "upside down"),
    ],
)
def test_boxes_that_are_odd_are_told_apart(change, told: str) -> None:
    class Suite(DetectorSuite):
        detector = each_box(change)

    with pytest.raises(AssertionError, match=told):
        Suite().test_boxes_are_fractions_in_order_and_scores_are_shares()


def test_a_detector_that_an_exception_has_changed_fails() -> None:
    class Suite(DetectorSuite):
        detector = Forgets

    with pytest.raises(AssertionError, match="finds something else"):
        Suite().test_it_ends_at_the_step_at_which_progress_raises()


def scored(change: Callable[[FakeMetric, list[PictureScore]], Any]) -> type[FakeMetric]:
    class Wrong(FakeMetric):
        def score(self, requests, progress=silent) -> Any:
            return change(self, super().score(requests, progress))

    return Wrong


def none_there(score: PictureScore) -> PictureScore:
    return PictureScore(tuple({**one, "there": 0} for one in score.instances), {"full": 0})


class Counts(FakeMetric):
    calls = 0

    def score(self, requests, progress=silent) -> list[PictureScore]:
        self.calls += 1
        scores = super().score(requests, progress)
        return [replace(one, picture={"full": (self.calls % 7) / 7}) for one in scores]


class FirstOfBatch(FakeMetric):
    def score(self, requests, progress=silent) -> list[PictureScore]:
        scores = super().score(requests, progress)
        return [replace(one, picture={"full": len(requests) == 1}) for one in scores]


class NeedsInstances(FakeMetric):
    def score(self, requests, progress=silent) -> list[PictureScore]:
        return [
            replace(one, picture={"full": np.mean([row["sure"] for row in one.instances])})
            for one in super().score(requests, progress)
        ]


class RewardsFailure(scored(lambda _, scores: [none_there(one) for one in scores])):
    def missing(self, layout: Layout) -> PictureScore:
        return PictureScore(tuple({"there": 1} for _ in layout.instances), {"full": 1})


class Unnamed(FakeMetric):
    figures = (*FakeMetric.figures, Figure("full", "full", "Again.", per="picture"))


class LooseMetric(FakeMetric):
    Options = type("LooseMetricOptions", (FakeMetric.Options, Loose), {})


class StubbornMetric(FakeMetric):
    def score(self, requests, progress=silent) -> list[PictureScore]:
        return super().score(requests)


class PoolsAll(FakeMetric):
    figures = (Figure("half", "half", "A half.", per="pooled"),)

    def pool(self, scores) -> Callable[[Any], dict[str, Any]]:
        return lambda weights: {"half": np.full(len(weights), float(len(scores)))}


WRONG_METRICS = {
    "test_each_request_gets_a_score_with_all_figures": scored(
        lambda _, scores: [replace(one, picture={}) for one in scores]
    ),
    "test_figures_have_names_of_their_own_and_a_meaning": Unnamed,
    "test_the_same_picture_gets_the_same_score": Counts,
    "test_a_score_of_a_batch_is_the_one_its_picture_gets_alone": FirstOfBatch,
    "test_a_layout_without_instances_can_be_scored": NeedsInstances,
    "test_a_missing_picture_counts_as_the_worst": RewardsFailure,
    "test_pooled_figures_follow_the_weights": PoolsAll,
    "test_it_ends_at_the_step_at_which_progress_raises": StubbornMetric,
    "test_an_unknown_option_is_refused": LooseMetric,
}


@pytest.mark.parametrize("check", WRONG_METRICS)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_a_wrong_metric_fails_its_check(check: str) -> None:
    class Suite(MetricSuite):
        metric = WRONG_METRICS[check]

    with pytest.raises((AssertionError, RenderError, pytest.fail.Exception)):
        getattr(Suite(), check)()


@pytest.mark.parametrize(
    ("suite", "wrong_ones"),
    [(DetectorConformance, WRONG_DETECTORS), (MetricConformance, WRONG_METRICS)],
)
def test_every_check_has_a_judge_that_it_fails(suite, wrong_ones) -> None:
    checks = {name for name in dir(suite) if name.startswith("test_")}
    assert checks - set(wrong_ones) == {"test_discovery_imports_no_model_library"}
