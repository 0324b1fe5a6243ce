from __future__ import annotations

import io
import json
from typing import Never

import numpy as np
import pytest

from threedis_core import FoundBox, FoundMask, InstanceFinding
from threedis_core.compare.scoring.batches import StoredPicture, detect_batch, score_batch
from threedis_core.compare.scoring.stored import (
    findings_file,
    is_current,
    read_findings,
    read_of,
    read_score,
)
from threedis_core.drawing.layout import draw_layout
from threedis_core.errors import DataError, RenderError
from threedis_core.metrics.coco_mig import CocoMig, CocoMigOptions
from threedis_core.plugin.judging.interfaces import InstanceDetector
from threedis_core.testing import FakeDetector, sample_layout
from threedis_core.values.masks.mask import Mask

LAYOUT = sample_layout(3)
METRIC = CocoMig(CocoMigOptions(detector="fake"))


def stored(job: str = "a1", detections: bytes | None = None) -> StoredPicture:
    file = io.BytesIO()
    draw_layout(LAYOUT, 64, 64).save(file, "PNG")
    return StoredPicture(job, LAYOUT, file.getvalue(), detections)


def test_findings_survive_their_file() -> None:
    mask = Mask.encode(np.eye(5))
    findings = (
        InstanceFinding(
            (FoundBox((-0.01, 0.25, 1 / 3, 1.0), 0.1, "a “cube”"),),
            (FoundMask(None, 0.5), FoundMask(mask, 0.25)),
            {"colour": "red", "list": [1, None]},
        ),
        InstanceFinding(),
    )
    content = findings_file("fake", FakeDetector(FakeDetector.Options()), "a1", findings)
    assert read_findings(content) == findings


def test_a_batch_is_detected_and_scored_from_bytes_to_the_same_bytes() -> None:
    detector = FakeDetector(FakeDetector.Options())
    files = detect_batch("fake", detector, [stored("a1"), stored("b2")])
    assert files == detect_batch("fake", detector, [stored("a1"), stored("b2")])
    document = json.loads(files[1])
    assert (document["job"], document["detector"]) == ("b2", "fake")
    assert len(document["instances"]) == 3
    scores = score_batch("coco-mig", METRIC, [stored("b2", files[1])])
    score = read_score(scores[0])
    assert [set(one) for one in score.instances] == [
        {"found", "colour", "right", "iou", "box_iou"}
    ] * 3
    assert read_of(scores[0]) is not None


def test_a_file_is_current_until_version_or_options_change() -> None:
    detector = FakeDetector(FakeDetector.Options())
    content = detect_batch("fake", detector, [stored()])[0]
    assert is_current(content, detector)
    assert not is_current(content, FakeDetector(FakeDetector.Options(shift=0.2)))

    class Newer(FakeDetector):
        version = 2

    assert not is_current(content, Newer(FakeDetector.Options()))
    assert not is_current(content[:40], detector)
    assert not is_current(b"[]", detector)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b'{"format": 1}'])
def test_a_file_that_holds_nothing_of_the_kind_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        read_findings(content)
    with pytest.raises(DataError):
        read_score(content)


def test_a_detector_or_metric_that_fails_is_named() -> None:
    class Bad(FakeDetector):
        def detect(self, requests, progress=None) -> list[tuple[()]]:
            return [()] * len(requests)

    class Raises(InstanceDetector):
        Options = FakeDetector.Options

        def detect(self, requests, progress=None) -> Never:
            raise ZeroDivisionError("no luck")

    with pytest.raises(RenderError, match=r"instance detector 'bad' failed: .* 0 results for 3"):
        detect_batch("bad", Bad(Bad.Options()), [stored()])
    with pytest.raises(RenderError, match="'raises' failed: ZeroDivisionError: no luck"):
        detect_batch("raises", Raises(Raises.Options()), [stored()])
    with pytest.raises(RenderError, match="metric 'coco-mig' failed"):
        score_batch("coco-mig", METRIC, [stored()])
