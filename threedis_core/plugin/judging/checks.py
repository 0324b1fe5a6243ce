"""The checks that every finding and score passes before anything is made of it.

A plugin may return anything; see ``result_checks``. Call them inside ``failures_named``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from threedis_core.errors import RenderError
from threedis_core.plugin.judging.interfaces import (
    DetectRequest,
    Figure,
    FoundBox,
    FoundMask,
    InstanceFinding,
    PictureScore,
    ScoreRequest,
    Value,
)
from threedis_core.plugin.result_checks import kind_of, listed
from threedis_core.values.masks.mask import Mask


def checked_findings(
    found: object, requests: Sequence[DetectRequest]
) -> list[tuple[InstanceFinding, ...]]:
    """What ``InstanceDetector.detect`` returned: one finding per instance of each request.

    Raises:
        RenderError: Anything else, or a box, score, mask or fact that cannot be stored.
    """
    answers: list[tuple[InstanceFinding, ...]] = []
    of_pictures = cast("list[object]", listed(found, tuple, requests))
    for one, request in zip(of_pictures, requests, strict=True):
        findings = listed(one, InstanceFinding, request.layout.instances)
        for finding in findings:
            _check_finding(finding)
        answers.append(tuple(findings))
    return answers


def checked_scores(
    scores: object, requests: Sequence[ScoreRequest], figures: Sequence[Figure]
) -> list[PictureScore]:
    """What ``Metric.score`` returned: every figure has its values, and all of it is plain JSON.

    Raises:
        RenderError: Anything else.
    """
    found = listed(scores, PictureScore, requests)
    for score, request in zip(found, requests, strict=True):
        check_score(score, len(request.layout.instances), figures)
    return found


def check_score(score: PictureScore, instances: int, figures: Sequence[Figure]) -> None:
    """Refuse a score that lacks a figure, or that cannot be stored.

    Raises:
        RenderError: It does.
    """
    if len(score.instances) != instances:
        raise RenderError(f"it scored {len(score.instances)} of {instances} instances")
    for figure in figures:
        places = {"instance": score.instances, "picture": (score.picture,), "pooled": ()}
        for values in places[figure.per]:
            if figure.value_key not in values:
                raise RenderError(f"its score has no '{figure.value_key}' per {figure.per}")
            _check_value(figure, values[figure.value_key])
    _check_plain([dict(values) for values in (*score.instances, score.picture)], "score")
    _check_plain(score.data, "score's data")


def checked_pool(
    pooled: object, figures: Sequence[Figure], weightings: int
) -> dict[str, NDArray[np.float64]]:
    """What ``Metric.pool`` returned: an array of ``weightings`` numbers for each pooled figure.

    Raises:
        RenderError: Anything else.
    """
    if not isinstance(pooled, Mapping):
        raise RenderError(f"it pooled {kind_of(pooled)}; expected a mapping of arrays")
    values: dict[str, NDArray[np.float64]] = {}
    for figure in figures:
        if figure.per != "pooled":
            continue
        array = np.asarray(cast("Mapping[str, Any]", pooled).get(figure.name), dtype=np.float64)
        if array.shape != (weightings,):
            raise RenderError(
                f"it pooled '{figure.name}' of shape {array.shape}; expected ({weightings},)"
            )
        values[figure.name] = array
    return values


def _check_finding(finding: InstanceFinding) -> None:
    for box in finding.boxes:
        if not isinstance(cast("object", box), FoundBox):
            raise RenderError(f"it found {kind_of(box)}; expected FoundBox")
        numbers = (*box.xyxy, box.score)
        if len(numbers) != 5 or not all(_is_finite(number) for number in numbers):
            raise RenderError(f"it found the box {box.xyxy!r} with score {box.score!r}")
    for mask in finding.masks:
        if not isinstance(cast("object", mask), FoundMask) or not _is_finite(mask.score):
            raise RenderError(f"it made {kind_of(mask)}; expected a FoundMask with a score")
        if not isinstance(cast("object", mask.mask), Mask | None):
            raise RenderError(f"it made a mask that is {kind_of(mask.mask)}; expected Mask or None")
    _check_plain(dict(finding.facts), "finding's facts")


def _check_value(figure: Figure, value: Value) -> None:
    if value is not None and not _is_finite(value):
        raise RenderError(f"its '{figure.value_key}' is {value!r}; expected a finite number")
    if figure.share and value is not None and not 0 <= value <= 1:
        raise RenderError(f"its '{figure.value_key}' is {value!r}; expected a share in [0, 1]")


def _check_plain(data: object, what: str) -> None:
    try:
        json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RenderError(f"its {what} cannot be written as JSON: {error}") from error


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
