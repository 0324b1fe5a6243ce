"""What metrics and detectors have said of each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, cast

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.report.page import Judged, Rectangle, Value, Verdict
from threedis_core.compare.report.summary import EMPTY, Data, read_data

FOUND, RIGHT = "found", "right"
"""Names that metrics give to these among the values of an instance."""


@dataclass(frozen=True)
class Judgement:
    """All that is known of one picture: nothing where nobody has scored it."""

    score: float | None = None
    verdicts: Sequence[Verdict] = ()
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])


class Judgements:
    """The scores and detections of a folder, read picture by picture.

    Args:
        folder: Of the comparison.
        plan: Its plan: the primary figure says what is right and what a picture scores.
    """

    def __init__(self, folder: CompareFolder, plan: ComparePlan) -> None:
        self._folder = folder
        told = read_data(folder.summary)
        metrics = {str(metric["name"]): metric for metric in told.get("metrics", [])}
        self._primary, _, figure = (plan.primary or "").partition(".")
        # The primary metric's word counts where several name a value alike.
        self._metrics = sorted(plan.metrics, key=lambda name: name != self._primary)
        self._detector = str(metrics.get(self._primary, EMPTY).get("detector") or "")
        self._key = _value_key(metrics.get(self._primary, EMPTY), figure)

    def of(self, key: str, boxes: Sequence[Rectangle]) -> Judgement:
        """What is known of the picture ``key``, of which ``boxes`` were asked."""
        scores = {name: self._score(name, key) for name in self._metrics}
        found = _entries(self._detection(key), len(boxes))
        instances = [_entries(score, len(boxes)) for score in scores.values()]
        if not any(score for score in scores.values()):
            return Judgement()
        verdicts = [
            self._verdict([part[index] for part in instances], box, found[index])
            for index, box in enumerate(boxes)
        ]
        pictures = {name: score.get("picture") or EMPTY for name, score in scores.items()}
        values = {
            f"{name}.{key}" if len(scores) > 1 else key: value
            for name, picture in pictures.items()
            for key, value in picture.items()
        }
        return Judgement(self._picture_score(scores.get(self._primary, EMPTY)), verdicts, values)

    def _score(self, metric: str, key: str) -> Data:
        return read_data(self._folder.score(metric, key))

    def _detection(self, key: str) -> Data:
        name = self._detector
        return read_data(self._folder.detection(name, key)) if name else EMPTY

    def _verdict(self, said: Sequence[Data], box: Rectangle, found: Data) -> Verdict:
        values: dict[str, Value] = {}
        for one in said:
            values = {**one, **values}
        return Verdict(self._state(values), values, _nearest(found.get("boxes") or [], box))

    def _state(self, values: Mapping[str, Value]) -> Judged:
        if not values:
            return "unjudged"
        if values.get(FOUND) is False:
            return "missing"
        own = values.get(self._key)
        right = own if isinstance(own, bool) else values.get(RIGHT, values.get(FOUND))
        if right is None:
            return "unjudged"
        return "right" if right else "wrong"

    def _picture_score(self, score: Data) -> float | None:
        """The primary figure in one picture: its mean over the instances, or its own value."""
        own = (score.get("picture") or EMPTY).get(self._key)
        if own is not None:
            return float(own)
        values = [instance.get(self._key) for instance in _instances(score)]
        known = [float(value) for value in values if value is not None]
        return fmean(known) if known else None


def _value_key(metric: Data, figure: str) -> str:
    """What the values of a figure are called: what the metric says, else the figure's own name."""
    found = next((f for f in metric.get("figures", []) if f.get("name") == figure), EMPTY)
    return str(found.get("key") or figure)


def _instances(score: Data) -> list[Data]:
    return [one or EMPTY for one in cast("list[Data | None]", score.get("instances") or [])]


def _entries(score: Data, count: int) -> list[Data]:
    """What is said of each instance; nothing of those that it does not reach."""
    found = _instances(score)
    return [*found[:count], *[EMPTY] * (count - len(found))]


def _nearest(boxes: Sequence[Any], asked: Rectangle) -> Rectangle | None:
    """The found box with the largest overlap with the asked one; None if none overlaps."""
    overlaps = [(_iou(box, asked), tuple(box)) for box in boxes]
    best = max(overlaps, default=(0.0, ()))
    return cast("Rectangle", best[1]) if best[0] > 0 else None


def _iou(box: Sequence[float], other: Rectangle) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    sizes = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, other)]
    return both / (sum(sizes) - both) if both else 0.0
