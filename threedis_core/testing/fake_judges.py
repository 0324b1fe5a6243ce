"""A detector and a metric without a model: for tests of everything around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from pydantic import Field

from threedis_core.plugin.interfaces import BackendOptions
from threedis_core.plugin.judging.interfaces import (
    DetectRequest,
    Figure,
    FoundBox,
    FoundMask,
    InstanceDetector,
    InstanceFinding,
    Metric,
    MetricOptions,
    PictureScore,
    ScoreRequest,
)
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.box import Box
from threedis_core.values.box_rounding import box_tokens
from threedis_core.values.masks.mask import Mask


class FakeDetectorOptions(BackendOptions):
    """``shift`` is how far off every box is, as a share of the picture's width."""

    shift: float = Field(default=0.02, ge=0, le=1, description="Share of the picture's width.")


class FakeDetector(InstanceDetector):
    """Find every instance where the layout wants it, a little off; the picture sets the scores."""

    Options = FakeDetectorOptions
    options: FakeDetectorOptions

    def detect(
        self, requests: Sequence[DetectRequest], progress: Progress = silent
    ) -> list[tuple[InstanceFinding, ...]]:
        """Look at every request."""
        found: list[tuple[InstanceFinding, ...]] = []
        for done, request in enumerate(requests, start=1):
            boxes = (instance.box for instance in request.layout.instances)
            found.append(tuple(self._find(box, request.image) for box in boxes))
            progress("detect", done, len(requests))
        return found

    def _find(self, box: Box, image: Image.Image) -> InstanceFinding:
        pixels = np.asarray(image.convert("L"))
        place = box_tokens(box, *pixels.shape)
        score = float(pixels[place].mean() / 255)
        mask = np.zeros(pixels.shape, np.bool_)
        mask[place] = True
        x0, y0, x1, y1 = box.xyxy
        off = (x0 + self.options.shift, y0, x1 + self.options.shift, y1)
        return InstanceFinding((FoundBox(off, score),), (FoundMask(Mask.encode(mask), score),))


class FakeMetricOptions(MetricOptions):
    """``least`` is the score from which an instance is there."""

    detector: str = Field(default="fake-detector", description="Whose findings are scored.")
    least: float = Field(default=0.3, ge=0, le=1, description="Score of one that is there.")


class FakeMetric(Metric):
    """An instance is there if the detector is sure enough, a picture is full if all are."""

    Options = FakeMetricOptions
    options: FakeMetricOptions
    figures = (
        Figure("there", "there", "Share of instances that are there."),
        Figure("full", "full", "Share of pictures with all instances.", per="picture"),
    )

    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Score every request."""
        scores: list[PictureScore] = []
        for done, request in enumerate(requests, start=1):
            sure = [
                max((box.score for box in one.boxes), default=0.0) for one in request.findings or ()
            ]
            there = [score >= self.options.least for score in sure]
            rows = tuple(
                {"there": yes, "sure": score} for yes, score in zip(there, sure, strict=True)
            )
            scores.append(PictureScore(rows, {"full": all(there)}))
            progress("score", done, len(requests))
        return scores
