"""Pure functions from stored pictures to stored findings and scores: any engine runs them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from threedis_core.compare.scoring.stored import findings_file, read_findings, score_file
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.judging.checks import checked_findings, checked_scores
from threedis_core.plugin.judging.interfaces import (
    DetectRequest,
    InstanceDetector,
    Metric,
    ScoreRequest,
)
from threedis_core.plugin.progress import Progress, Watched, silent
from threedis_core.values.layout import Layout


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """A picture of a comparison, as files hold it.

    Args:
        job: The key of its job.
        layout: What should be where.
        image: The picture's file.
        detections: The file of what the metric's detector found in it; None if it reads none.
    """

    job: str
    layout: Layout
    image: bytes
    detections: bytes | None = None

    def open(self) -> Image.Image:
        """The picture, RGB."""
        return Image.open(io.BytesIO(self.image)).convert("RGB")


def detect_batch(
    name: str,
    detector: InstanceDetector,
    pictures: Sequence[StoredPicture],
    progress: Progress = silent,
) -> list[bytes]:
    """Look for the instances of every picture.

    Returns:
        For each picture the file of its findings.
    Raises:
        ThreeDISError: The detector failed; it is named.
    """
    requests = [DetectRequest(picture.layout, picture.open()) for picture in pictures]
    told = Watched(progress)
    with failures_named(f"instance detector '{name}'", progress=told):
        found = checked_findings(detector.detect(requests, told), requests)
    return [
        findings_file(name, detector, picture.job, findings)
        for picture, findings in zip(pictures, found, strict=True)
    ]


def score_batch(
    name: str,
    metric: Metric,
    pictures: Sequence[StoredPicture],
    progress: Progress = silent,
) -> list[bytes]:
    """Score every picture.

    Returns:
        For each picture the file of its scores.
    Raises:
        ThreeDISError: The metric failed, and is named; or the findings it reads are not there.
    """
    requests = [_score_request(picture) for picture in pictures]
    told = Watched(progress)
    with failures_named(f"metric '{name}'", progress=told):
        scores = checked_scores(metric.score(requests, told), requests, metric.figures)
    return [
        score_file(name, metric, picture.job, score, picture.detections)
        for picture, score in zip(pictures, scores, strict=True)
    ]


def _score_request(picture: StoredPicture) -> ScoreRequest:
    findings = None if picture.detections is None else read_findings(picture.detections)
    return ScoreRequest(picture.layout, findings, picture.open)
