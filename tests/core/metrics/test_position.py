"""``position`` against pycocotools, which reads the same boxes."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from threedis_core import FoundBox, Instance, InstanceFinding, Layout, ScoreRequest
from threedis_core.metrics.average_precision import SIDE
from threedis_core.metrics.position import Position, PositionOptions
from threedis_core.plugin.judging.interfaces import PictureScore
from threedis_core.values.box import Box

NOUNS = ("cat", "dog", "sports ball")


def drawn(random: np.random.Generator) -> ScoreRequest:
    """A layout, and boxes near its own and elsewhere."""
    instances, findings = [], []
    by_noun: dict[str, list[FoundBox]] = {}
    for _ in range(random.integers(1, 6)):
        noun = NOUNS[random.integers(len(NOUNS))]
        x0, y0 = random.uniform(0, 0.6, 2)
        side = random.uniform(0.1, 0.4, 2)
        box = np.array([x0, y0, x0 + side[0], y0 + side[1]])
        instances.append(Instance(prompt=f"a red {noun}", box=Box.from_xyxy(box)))
        for _ in range(random.integers(0, 4)):
            near = box + random.normal(0, 0.02, 4)
            score = round(random.uniform(0, 1), 2)  # ties happen
            by_noun.setdefault(noun, []).append(FoundBox(tuple(near.tolist()), score))
    for instance in instances:
        findings.append(InstanceFinding(tuple(by_noun.get(instance.noun, ()))))
    layout = Layout(prompt="x", instances=tuple(instances))
    return ScoreRequest(layout, tuple(findings), lambda: pytest.fail("needs no picture"))


def scores_of(count: int, seed: int = 0) -> tuple[Position, list[PictureScore]]:
    random = np.random.default_rng(seed)
    metric = Position(PositionOptions())
    return metric, metric.score([drawn(random) for _ in range(count)])


def by_pycocotools(scores: list[PictureScore]) -> list[float]:
    """AP, AP50 and AP75 of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = sorted({row[0] for score in scores for row in score.data["wanted"]})

    def rows(key: str) -> list[dict]:
        found = []
        for place, score in enumerate(scores, start=1):
            for row in score.data[key]:
                x0, y0, x1, y1 = (side * SIDE for side in row[1:5])
                one = {
                    "id": len(found) + 1,
                    "image_id": place,
                    "category_id": names.index(row[0]) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
                found.append(one | ({"score": row[5]} if key == "found" else {}))
        return found

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": place} for place in range(1, len(scores) + 1)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
            "annotations": rows("wanted"),
        }
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(rows("found")), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[:3].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_ap_is_the_one_of_pycocotools(seed: int) -> None:
    metric, scores = scores_of(60, seed)
    pooled = metric.pool(scores)(np.ones((1, len(scores))))
    expected = by_pycocotools(scores)
    assert 0.05 < expected[0] < 0.9
    assert [pooled[name][0] for name in ("ap", "ap50", "ap75")] == pytest.approx(expected, abs=1e-9)


def test_a_weight_of_two_is_the_picture_twice() -> None:
    metric, scores = scores_of(25)
    random = np.random.default_rng(1)
    weights = random.multinomial(25, np.full(25, 1 / 25), size=3).astype(float)
    pooled = metric.pool(scores)(weights)
    for row, weighting in enumerate(weights):
        repeated = [s for s, n in zip(scores, weighting, strict=True) for _ in range(int(n))]
        expected = by_pycocotools(repeated)
        found = [pooled[name][row] for name in ("ap", "ap50", "ap75")]
        # Copies of boxes of one score come in another order among ties, which may move a point.
        assert found == pytest.approx(expected, abs=2e-3)


def test_a_picture_that_failed_counts_as_one_in_which_nothing_was_found() -> None:
    metric, scores = scores_of(20)
    random = np.random.default_rng(0)
    missing = metric.missing(drawn(random).layout)
    assert missing.data["wanted"] == scores[0].data["wanted"]
    assert missing.data["found"] == []
    worse = [missing, *scores[1:]]
    full, less = (metric.pool(some)(np.ones((1, 20)))["ap"][0] for some in (scores, worse))
    assert less < full
    assert less == pytest.approx(by_pycocotools(worse)[0], abs=1e-9)


def test_low_scores_count_down_to_the_cut_and_the_cut_can_be_raised() -> None:
    box = Box.from_xyxy((0.1, 0.1, 0.5, 0.5))
    layout = Layout(prompt="x", instances=(Instance(prompt="a cat", box=box),))
    findings = (InstanceFinding((FoundBox(box.xyxy, 0.06), FoundBox((0, 0, 1, 1), 0.04))),)
    request = ScoreRequest(layout, findings, lambda: pytest.fail("needs no picture"))
    for cut, value in ((0.05, 1.0), (0.25, 0.0)):
        metric = Position(PositionOptions(score_cut=cut))
        scores = metric.score([request])
        assert metric.pool(scores)(np.ones((1, 1)))["ap"][0] == value
    assert np.isnan(metric.pool(scores)(np.zeros((1, 1)))["ap"][0])
