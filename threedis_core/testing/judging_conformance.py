"""The tests that every instance detector and every metric must pass.

Subclass ``DetectorConformance`` or ``MetricConformance``.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from threedis_core.drawing.layout import draw_layout
from threedis_core.plugin.judging.checks import (
    check_score,
    checked_findings,
    checked_pool,
    checked_scores,
)
from threedis_core.plugin.judging.interfaces import (
    DetectRequest,
    InstanceDetector,
    InstanceFinding,
    Metric,
    PictureScore,
    ScoreRequest,
)
from threedis_core.testing.checks import (
    check_discovery_is_light,
    check_it_ends_where_progress_raises,
    check_unknown_option_is_refused,
)
from threedis_core.testing.fake_judges import FakeDetector
from threedis_core.testing.samples import sample_layout
from threedis_core.values.layout import Layout

TOLERANCE = 1e-3
"""How far a number of a batch may be from the same number alone."""


class _Judging:
    """Layouts and pictures of them that both suites use.

    Args:
        plugin_module: The module your entry point names.
        size: (width, height) of the pictures.
    """

    plugin_module: ClassVar[str]
    size: ClassVar[tuple[int, int]] = (64, 64)

    def layout(self, instances: int) -> Layout:
        """A layout that can be judged; override if other words are wanted."""
        return sample_layout(instances)

    def picture(self, layout: Layout, number: int = 0) -> Image.Image:
        """A picture of ``layout``; another ``number``, another picture."""
        random = np.random.default_rng(number)
        drawn = np.asarray(draw_layout(layout, *self.size).resize(self.size)).astype(np.int16)
        noisy = drawn + random.integers(-20, 21, drawn.shape)
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


class DetectorConformance(_Judging):
    """What every instance detector promises; each method that starts with ``test_`` is a check."""

    def make_detector(self, **options: Any) -> InstanceDetector:
        """Make the detector under test, small and fast; must be overridden."""
        raise NotImplementedError

    def request(self, instances: int = 2, number: int = 0) -> DetectRequest:
        """A request with a picture of the suite's size."""
        layout = self.layout(instances)
        return DetectRequest(layout, self.picture(layout, number))

    def test_each_request_gives_a_finding_for_every_instance(self) -> None:
        requests = [self.request(2), self.request(1), self.request(3)]
        found = checked_findings(self.make_detector().detect(requests), requests)
        assert [len(one) for one in found] == [2, 1, 3]

    def test_boxes_are_fractions_in_order_and_scores_are_shares(self) -> None:
        for finding in self.make_detector().detect([self.request(3)])[0]:
            for box in finding.boxes:
                x0, y0, x1, y1 = box.xyxy
                assert x0 <= x1, f"the box {box.xyxy} has its right side first"
                assert y0 <= y1, f"the box {box.xyxy} is upside down"
                assert max(abs(side) for side in box.xyxy) <= 2, (
                    f"the box {box.xyxy} is in pixels; expected fractions of the picture"
                )
                assert 0 <= box.score <= 1, f"the score {box.score} is no share"

    def test_the_same_picture_gives_the_same_finding(self) -> None:
        detector = self.make_detector()
        first, again = (detector.detect([self.request()]) for _ in range(2))
        assert first == again, "the same picture gave another finding"

    def test_a_finding_of_a_batch_is_the_one_its_picture_gives_alone(self) -> None:
        requests = [self.request(1, 1), self.request(3, 2), self.request(2, 3)]
        together = self.make_detector().detect(requests)
        for number, request in enumerate(requests):
            alone = self.make_detector().detect([request])[0]
            assert _alike(alone, together[number]), (
                f"finding {number} differs from the one its picture gives alone"
            )

    def test_a_layout_without_instances_gives_no_finding(self) -> None:
        layout = Layout(prompt="nothing")
        assert self.make_detector().detect([DetectRequest(layout, self.picture(layout))]) == [()]

    def test_requests_are_left_as_they_were(self) -> None:
        request = self.request()
        before = json.dumps(request.layout.to_dict()), request.image.tobytes()
        self.make_detector().detect([request])
        after = json.dumps(request.layout.to_dict()), request.image.tobytes()
        assert before == after, "the detector changed its request"

    def test_closing_and_detecting_again_gives_the_same_finding(self) -> None:
        detector = self.make_detector()
        first = detector.detect([self.request()])
        detector.close()
        assert first == detector.detect([self.request()])

    def test_it_ends_at_the_step_at_which_progress_raises(self) -> None:
        detector = self.make_detector()
        expected = self.make_detector().detect([self.request()])
        check_it_ends_where_progress_raises(
            lambda progress: detector.detect([self.request(3, 9), self.request()], progress)
        )
        assert detector.detect([self.request()]) == expected, (
            "after an exception the detector finds something else"
        )

    def test_an_unknown_option_is_refused(self) -> None:
        check_unknown_option_is_refused(type(self.make_detector()).Options)

    def test_discovery_imports_no_model_library(self) -> None:
        check_discovery_is_light(self.plugin_module)


class MetricConformance(_Judging):
    """What every metric promises; each method that starts with ``test_`` is one check."""

    def make_metric(self, **options: Any) -> Metric:
        """Make the metric under test; must be overridden."""
        raise NotImplementedError

    def findings(self, layout: Layout, picture: Image.Image) -> tuple[InstanceFinding, ...]:
        """What its detector found; override it if the metric reads a certain one's facts."""
        detector = FakeDetector(FakeDetector.Options())
        return detector.detect([DetectRequest(layout, picture)])[0]

    def request(self, instances: int = 2, number: int = 0) -> ScoreRequest:
        """A request with a picture of the suite's size, and findings if the metric reads any."""
        layout = self.layout(instances)
        picture = self.picture(layout, number)
        reads = self.make_metric().detector is not None
        return ScoreRequest(layout, self.findings(layout, picture) if reads else None, picture.copy)

    def test_each_request_gets_a_score_with_all_figures(self) -> None:
        metric = self.make_metric()
        requests = [self.request(2), self.request(1), self.request(3)]
        scores = checked_scores(metric.score(requests), requests, metric.figures)
        assert len(scores) == 3

    def test_figures_have_names_of_their_own_and_a_meaning(self) -> None:
        figures = type(self.make_metric()).figures
        assert figures, "it tells nothing"
        assert len({figure.name for figure in figures}) == len(figures), "two have one name"
        for figure in figures:
            assert figure.name.isidentifier(), f"'{figure.name}' is no name for a column"
            assert figure.title, f"'{figure.name}' has no title"
            assert figure.meaning.endswith("."), f"'{figure.name}' is explained by no sentence"

    def test_the_same_picture_gets_the_same_score(self) -> None:
        metric = self.make_metric()
        first, again = (metric.score([self.request()]) for _ in range(2))
        assert first == again, "the same picture got another score"

    def test_a_score_of_a_batch_is_the_one_its_picture_gets_alone(self) -> None:
        requests = [self.request(1, 1), self.request(3, 2), self.request(2, 3)]
        together = self.make_metric().score(requests)
        for number, request in enumerate(requests):
            alone = self.make_metric().score([request])[0]
            assert _close(alone, together[number]), (
                f"score {number} differs from the one its picture gets alone"
            )

    def test_a_layout_without_instances_can_be_scored(self) -> None:
        layout = Layout(prompt="nothing")
        metric = self.make_metric()
        findings = () if metric.detector is not None else None
        request = ScoreRequest(layout, findings, lambda: self.picture(layout))
        assert checked_scores(metric.score([request]), [request], metric.figures)

    def test_a_missing_picture_counts_as_the_worst(self) -> None:
        metric, layout = self.make_metric(), self.layout(2)
        missing = metric.missing(layout)
        check_score(missing, len(layout.instances), metric.figures)
        made = metric.score([self.request(2)])[0]
        for figure in metric.figures:
            if not figure.share:
                continue  # of other scales 0 need not be the worst
            if figure.per == "instance":
                for lost, one in zip(missing.instances, made.instances, strict=True):
                    _check_no_better(figure, lost[figure.value_key], one[figure.value_key])
            elif figure.per == "picture":
                key = figure.value_key
                _check_no_better(figure, missing.picture[key], made.picture[key])

    def test_pooled_figures_follow_the_weights(self) -> None:
        metric = self.make_metric()
        if not any(figure.per == "pooled" for figure in metric.figures):
            pytest.skip("it has no pooled figures")
        scores = metric.score([self.request(2, 1), self.request(3, 2), self.request(1, 3)])
        weights = np.array([[1.0, 1, 1], [1, 0, 0], [2, 2, 2]])
        pooled = checked_pool(metric.pool(scores)(weights), metric.figures, 3)
        alone = checked_pool(metric.pool(scores[:1])(np.ones((1, 1))), metric.figures, 1)
        for name, values in pooled.items():
            assert values[1] == pytest.approx(alone[name][0], nan_ok=True), (
                f"'{name}' of one picture depends on pictures of weight 0"
            )

    def test_it_ends_at_the_step_at_which_progress_raises(self) -> None:
        check_it_ends_where_progress_raises(
            lambda progress: self.make_metric().score([self.request(), self.request(1)], progress)
        )

    def test_an_unknown_option_is_refused(self) -> None:
        check_unknown_option_is_refused(type(self.make_metric()).Options)

    def test_discovery_imports_no_model_library(self) -> None:
        check_discovery_is_light(self.plugin_module)


def _check_no_better(figure: Any, lost: Any, made: Any) -> None:
    if lost is None or made is None:
        return
    assert lost <= made if figure.better == "higher" else lost >= made, (
        f"a picture that is missing has a better '{figure.name}' ({lost}) than one that was made "
        f"({made}); override missing"
    )


def _alike(one: tuple[InstanceFinding, ...], other: tuple[InstanceFinding, ...]) -> bool:
    """True if two findings are the same but for rounding."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if len(a.boxes) != len(b.boxes) or len(a.masks) != len(b.masks):
            return False
        numbers = (
            [[*box.xyxy, box.score] for box in a.boxes],
            [[*box.xyxy, box.score] for box in b.boxes],
        )
        if not np.allclose(*numbers, atol=TOLERANCE):
            return False
        scores = [mask.score for mask in a.masks], [mask.score for mask in b.masks]
        if not np.allclose(*scores, atol=TOLERANCE):
            return False
    return True


def _close(one: PictureScore, other: PictureScore) -> bool:
    """True if two scores are the same but for rounding."""
    pairs = [*zip(one.instances, other.instances, strict=True), (one.picture, other.picture)]
    for a, b in pairs:
        if a.keys() != b.keys():
            return False
        for key, value in a.items():
            other_value = b[key]
            if value is None or other_value is None:
                if value is not other_value:
                    return False
            elif abs(value - other_value) > TOLERANCE:
                return False
    return True
