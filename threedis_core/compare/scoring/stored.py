"""What detectors found and metrics said of one picture, as JSON files hold it.

The bytes depend on the content alone: keys are sorted, and nothing tells the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from threedis_core.errors import DataError
from threedis_core.plugin.judging.interfaces import (
    FoundBox,
    FoundMask,
    InstanceDetector,
    InstanceFinding,
    Metric,
    PictureScore,
)
from threedis_core.values.masks.mask import Mask

FORMAT = 1


def findings_file(
    name: str, detector: InstanceDetector, job: str, findings: Sequence[InstanceFinding]
) -> bytes:
    """The file of what a detector, chosen as ``name``, found in the picture of ``job``."""
    head = _head("detector", name, detector.version, detector.options.model_dump(mode="json"))
    return _json({**head, "job": job, "instances": [_plain_finding(one) for one in findings]})


def read_findings(content: bytes) -> tuple[InstanceFinding, ...]:
    """Read a file of findings.

    Raises:
        DataError: It is none.
    """
    document = _document(content, "findings")
    try:
        return tuple(_finding(one) for one in document["instances"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the file holds no findings: {error!r}") from error


def score_file(
    name: str, metric: Metric, job: str, score: PictureScore, findings: bytes | None
) -> bytes:
    """The file of what a metric, chosen as ``name``, says of the picture of ``job``.

    ``findings`` is the file that it read, of which the score keeps the checksum.
    """
    head = _head("metric", name, metric.version, metric.options.model_dump(mode="json"))
    body = {
        "job": job,
        "findings": None if findings is None else hashlib.sha256(findings).hexdigest(),
        "instances": [dict(one) for one in score.instances],
        "picture": dict(score.picture),
        "data": score.data,
    }
    return _json({**head, **body})


def read_score(content: bytes) -> PictureScore:
    """Read a file of scores.

    Raises:
        DataError: It is none.
    """
    document = _document(content, "scores")
    try:
        instances = tuple(dict(one) for one in document["instances"])
        return PictureScore(instances, dict(document["picture"]), document.get("data"))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the file holds no scores: {error!r}") from error


def is_current(content: bytes, backend: InstanceDetector | Metric) -> bool:
    """True if a file of findings or scores was made by this version with these options.

    One that cannot be read is not: make it again.
    """
    try:
        document = _document(content, "findings or scores")
    except DataError:
        return False
    made_by = (document.get("version"), document.get("options"))
    return made_by == (backend.version, backend.options.model_dump(mode="json"))


def read_of(content: bytes) -> str | None:
    """The checksum of the findings that a file of scores was made of; None if of none."""
    return _document(content, "scores").get("findings")


def _head(kind: str, name: str, version: int, options: dict[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, kind: name, "version": version, "options": options}


def _plain_finding(finding: InstanceFinding) -> dict[str, Any]:
    return {
        "boxes": [list(box.xyxy) for box in finding.boxes],
        "scores": [box.score for box in finding.boxes],
        "labels": [box.label for box in finding.boxes],
        "masks": [None if one.mask is None else one.mask.model_dump() for one in finding.masks],
        "mask_scores": [one.score for one in finding.masks],
        "facts": dict(finding.facts),
    }


def _finding(data: Mapping[str, Any]) -> InstanceFinding:
    boxes = (
        FoundBox((float(x0), float(y0), float(x1), float(y1)), float(score), str(label))
        for (x0, y0, x1, y1), score, label in zip(
            data["boxes"], data["scores"], data["labels"], strict=True
        )
    )
    masks = (
        FoundMask(None if mask is None else _mask(mask), float(score))
        for mask, score in zip(data["masks"], data["mask_scores"], strict=True)
    )
    return InstanceFinding(tuple(boxes), tuple(masks), dict(data["facts"]))


def _mask(code: Mapping[str, Any]) -> Mask:
    """A mask as it was stored: it was checked then, and is again when it is decoded."""
    height, width = code["size"]
    return Mask.model_construct(size=(int(height), int(width)), counts=str(code["counts"]))


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        document: object = json.loads(content)
    except ValueError as error:
        raise DataError(f"the file holds no {what}: it is no JSON") from error
    if not isinstance(document, dict) or cast(Any, document).get("format") != FORMAT:
        raise DataError(f"the file holds no {what} that this ThreeDIS reads; make it again")
    return cast("dict[str, Any]", document)


def _json(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return (text + "\n").encode()
