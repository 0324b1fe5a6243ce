"""The metric ``position``: average precision of the boxes, by a definition of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from threedis_core.metrics.boxes import suppress
from threedis_core.plugin.judging.interfaces import (
    Figure,
    FoundBox,
    Metric,
    MetricOptions,
    PictureScore,
    Pooler,
    ScoreRequest,
)
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.layout import Layout

FIGURES = (
    Figure("ap", "AP", "Average precision over IoU 0.50, 0.55, ... 0.95.", per="pooled"),
    Figure("ap50", "AP50", "Average precision at IoU 0.50.", per="pooled"),
    Figure("ap75", "AP75", "Average precision at IoU 0.75.", per="pooled"),
)


class PositionOptions(MetricOptions):
    """Options of ``position``."""

    score_cut: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Boxes of a lower score are left out; a high cut truncates the curve.",
    )
    suppression: float = Field(
        default=0.8, ge=0, le=1, description="IoU above which a box counts as found twice."
    )


class Position(Metric):
    """COCO's average precision, with the layout as the truth and its nouns as the categories.

    The detector is asked for the nouns of each layout and for no other, so that a picture has no
    detections of what its layout does not name. AP is the mean over the nouns of all layouts.
    """

    Options = PositionOptions
    options: PositionOptions
    figures = FIGURES
    note = "AP is defined by ThreeDIS (docs/metrics.md) and not comparable with other papers'."

    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Keep what is pooled later: the boxes that should be there, and those that were found."""
        scores: list[PictureScore] = []
        for request in requests:
            scores.append(self._score(request))
            progress("score", len(scores), len(requests))
        return scores

    def _score(self, request: ScoreRequest) -> PictureScore:
        by_noun: dict[str, list[FoundBox]] = {}
        for instance, finding in zip(request.layout.instances, request.findings or (), strict=True):
            # Instances of one noun were asked for in the same words: any one has all the boxes.
            by_noun.setdefault(_category(instance.noun), list(finding.boxes))
        found = [
            [noun, *box.xyxy, box.score]
            for noun, boxes in by_noun.items()
            for box in suppress(self._likely(boxes), self.options.suppression)
        ]
        return _with_data(request.layout, found)

    def _likely(self, boxes: Sequence[FoundBox]) -> list[FoundBox]:
        return [box for box in boxes if box.score >= self.options.score_cut]

    def missing(self, layout: Layout) -> PictureScore:
        """A picture in which nothing was found."""
        return _with_data(layout, [])

    def pool(self, scores: Sequence[PictureScore]) -> Pooler:
        """Average precision of weightings, in [0, 1]; NaN where nothing should be there."""
        from threedis_core.metrics.average_precision import THRESHOLDS, Matches

        matches = Matches.of([score.data for score in scores])

        def pooled(weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
            by_threshold = matches.average_precision(weights)
            return {
                "ap": by_threshold.mean(axis=1),
                "ap50": by_threshold[:, THRESHOLDS.index(0.5)],
                "ap75": by_threshold[:, THRESHOLDS.index(0.75)],
            }

        return pooled


def _with_data(layout: Layout, found: list[list[Any]]) -> PictureScore:
    wanted = [[_category(one.noun), *one.box.xyxy] for one in layout.instances]
    return PictureScore(tuple({} for _ in wanted), {}, {"wanted": wanted, "found": found})


def _category(noun: str) -> str:
    return " ".join(noun.lower().split())
