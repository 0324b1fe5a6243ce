"""COCO's average precision under many weightings of the same pictures.

Matching boxes is a picture's own affair, so the evaluator (hotcoco) does it once. Only the curve of
precision over recall depends on how often each picture counts; it is summed up here, for all
weightings together. With every weight 1 the result is the evaluator's own.

P = number of pictures, R = number of weightings, T = number of IoU thresholds, D = number of
detections of one category, M = number of those that match at one threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS = np.linspace(0, 1, 101)
"""Recall at which precision is read."""
SIDE = 512
"""Boxes are handed over in pixels of a square of this side."""
MOST_NUMBERS = 2**22
"""Weightings go through in chunks of about so many numbers: 32 MB."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Category:
    """The detections of one category, the surest first.

    Args:
        picture: The picture of each, shape (D,).
        matched: Whether each is right at each threshold, shape (T, D).
        wanted: How many there should be in each picture, shape (P,).
    """

    picture: NDArray[np.intp]
    matched: NDArray[np.bool_]
    wanted: Numbers


@dataclass(frozen=True, eq=False)
class Matches:
    """What the evaluator matched, by category."""

    categories: tuple[Category, ...]

    @classmethod
    def of(cls, pictures: Sequence[Mapping[str, Any]]) -> Matches:
        """Match the boxes of P pictures.

        Args:
            pictures: ``wanted``: rows of noun, x0, y0, x1, y1; ``found``: the same with a score
                behind; in fractions of the picture.
        """
        nouns = sorted({row[0] for picture in pictures for row in picture["wanted"]})
        numbers = {noun: number for number, noun in enumerate(nouns, start=1)}
        by_category: dict[int, list[Any]] = {number: [] for number in numbers.values()}
        for one in _evaluated(pictures, numbers):
            by_category[one["category_id"]].append(one)
        return cls(tuple(_category(found, len(pictures)) for found in by_category.values()))

    def average_precision(self, weights: Numbers) -> Numbers:
        """The mean over categories, of those that a weighting has.

        Args:
            weights: How often each picture counts, shape (R, P), whole numbers from 0.
        Returns:
            In [0, 1], shape (R, T); NaN where a weighting has no category.
        """
        total = np.zeros((len(weights), len(THRESHOLDS)))
        present = np.zeros((len(weights), 1))
        for category in self.categories:
            has = weights @ category.wanted > 0
            present[has] += 1
            for rows in _chunks(np.flatnonzero(has), len(category.picture)):
                total[rows] += _precision(category, weights[rows])
        return np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _precision(category: Category, weights: Numbers) -> Numbers:
    """Average precision of one category that every weighting has, shape (R, T)."""
    wanted = weights @ category.wanted
    counted = weights[:, category.picture]  # (R, D)
    so_far = np.cumsum(counted, axis=1)
    result = np.zeros((len(weights), len(THRESHOLDS)))
    for place, matched in enumerate(category.matched):
        hits = np.flatnonzero(matched)
        if not len(hits):
            continue
        right = np.cumsum(counted[:, hits], axis=1)  # (R, M)
        precision = right / np.maximum(so_far[:, hits], 1)
        # The best precision at this recall or a higher one.
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, right / wanted[:, None], side="right")
        new = np.diff(reached, axis=1, prepend=0)
        result[:, place] = (best * new).sum(axis=1) / len(RECALLS)
    return result


def _chunks(rows: NDArray[np.intp], width: int) -> Iterator[NDArray[np.intp]]:
    step = max(1, MOST_NUMBERS // max(1, width))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _category(found: Sequence[Mapping[str, Any]], pictures: int) -> Category:
    """Put together what the evaluator said of one category, picture by picture."""
    wanted = np.zeros(pictures)
    for one in found:
        wanted[one["image_id"] - 1] = len(one["gtIds"])
    counts = [len(one["dtIds"]) for one in found]
    picture = np.repeat([one["image_id"] - 1 for one in found], counts).astype(np.intp)
    scores = np.array([score for one in found for score in one["dtScores"]], dtype=np.float64)
    flags = [
        np.array(one["dtMatched"], dtype=np.bool_).reshape(len(THRESHOLDS), -1) for one in found
    ]
    matched = np.concatenate([np.zeros((len(THRESHOLDS), 0), np.bool_), *flags], axis=1)
    order = np.argsort(-scores, kind="stable")
    return Category(picture[order], matched[:, order], wanted)


def _evaluated(
    pictures: Sequence[Mapping[str, Any]], numbers: Mapping[str, int]
) -> Iterator[Mapping[str, Any]]:
    """What the evaluator says of each picture and category that has a box at all."""
    import hotcoco

    truth = [
        {"image_id": place, "category_id": numbers[row[0]], **_box(row[1:5])}
        for place, picture in enumerate(pictures, start=1)
        for row in picture["wanted"]
    ]
    found = [
        {"image_id": place, "category_id": numbers[row[0]], "score": row[5], **_box(row[1:5])}
        for place, picture in enumerate(pictures, start=1)
        for row in picture["found"]
        if row[0] in numbers
    ]
    annotations = [{"id": number, "iscrowd": 0, **one} for number, one in enumerate(truth, start=1)]
    images = [{"id": place, "width": SIDE, "height": SIDE} for place in range(1, len(pictures) + 1)]
    names = [{"id": number, "name": noun} for noun, number in numbers.items()]
    dataset = {"images": images, "categories": names, "annotations": annotations}
    coco = hotcoco.COCO(dataset)
    evaluator = hotcoco.COCOeval(coco, coco.load_res(found), "bbox")
    everything = evaluator.params.area_rng[0]
    evaluator.params.area_rng = [everything]
    evaluator.params.area_rng_lbl = ["all"]
    evaluator.evaluate()
    return (one for one in evaluator.eval_imgs if one is not None)


def _box(xyxy: Sequence[float]) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(side) * SIDE for side in xyxy)
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
