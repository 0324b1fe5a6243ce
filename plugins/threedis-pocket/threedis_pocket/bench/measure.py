"""Measuring pictures of pocket layouts: is every object where it should be, in its colour?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from threedis_core.values.layout import Box, Layout
from threedis_pocket.bench.detector import Detector, classify_pixels
from threedis_pocket.bench.shapes import VISIBLE, shape_at, visible_shares
from threedis_pocket.layouts import colour_index, layout_scene
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, draw

NEAR = 0.3
"""A detection with this IoU is about where the instance should be."""
METRICS = ("colour", "colour_iou", "shape", "iou", "image")
GROUPS = ("all", "shared", "unshared")


@dataclass(frozen=True)
class Judgement:
    """One instance in one picture.

    Args:
        picture: Number of the picture.
        shared: True if another instance of the layout has the same shape.
        colour: True if the prompt's colour is the most frequent one on the instance's pixels.
        iou: Intersection over union of the layout's box and the best detection of the prompt's
            colour; 0 if the colour is wrong.
        shape: True if the prompt's shape explains the picture best of all shapes; None where others
            hide too much of the instance to tell.
        there: True if its colour is right, or anything at all was found about where it should be.
    """

    picture: int
    shared: bool
    colour: bool
    iou: float
    shape: bool | None = None
    there: bool = True

    @property
    def right(self) -> bool:
        """Colour right, and box IoU at least 0.5."""
        return self.colour and self.iou >= 0.5


def judge(
    layout: Layout, picture: np.ndarray, detector: Detector, number: int = 0
) -> list[Judgement]:
    """Judge every instance of a pocket layout in a picture of it.

    Args:
        layout: Pocket shapes; every prompt names one colour.
        picture: RGB, (H, W, 3) uint8.
        detector: Finds the objects.
        number: The picture's number, kept in the judgements.
    """
    scene = layout_scene(layout)
    height, width = picture.shape[:2]
    seen = draw(scene, height, width, supersample=1).ids[0].numpy()
    shares = visible_shares(scene, height, width)
    classes = classify_pixels(picture)
    found = detector.detect(picture)
    times = Counter(scene.shapes[0].tolist())
    judged = []
    for slot, instance in enumerate(layout.instances):
        colour = colour_index(layout, slot)
        kind = int(scene.shapes[0, slot])
        pixels = Counter(classes[seen == slot].tolist())
        right = bool(pixels) and pixels.most_common(1)[0][0] == colour
        boxes = [Box.from_xyxy(d.box) for d in found if right and d.colour == COLOURS[colour or 0]]
        best = max(boxes, key=instance.box.iou, default=instance.box)
        iou = instance.box.iou(best) if boxes else 0.0
        shape = None
        if shares[slot] >= VISIBLE:
            places = [instance.box.xyxy, *([best.xyxy] if iou >= NEAR else [])]
            shape = right and shape_at(picture, scene, slot, places) == SHAPES[kind]
        there = right or any(instance.box.iou(Box.from_xyxy(d.box)) >= NEAR for d in found)
        judged.append(Judgement(number, times[kind] > 1, right, iou, shape, there))
    return judged


Figure = dict[str, float | int | None]
_NOTHING: Figure = {"value": None, "low": None, "high": None, "n": 0}


def share_figure(hits: Sequence[bool]) -> Figure:
    """A share with its 95 % Wilson interval."""
    if not hits:
        return dict(_NOTHING)
    interval = stats.binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    value = sum(hits) / len(hits)
    return {"value": value, "low": interval.low, "high": interval.high, "n": len(hits)}


def mean_figure(values: Sequence[float]) -> Figure:
    """A mean of values in [0, 1] and its 95 % interval from Student's t; one alone has none."""
    if not values:
        return dict(_NOTHING)
    mean, reach = float(np.mean(values)), None
    if len(values) > 1:
        reach = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    low, high = (None, None) if reach is None else (max(mean - reach, 0), min(mean + reach, 1))
    return {"value": mean, "low": low, "high": high, "n": len(values)}


def summarise(judged: Sequence[Judgement]) -> dict[str, dict[str, Figure]]:
    """Every metric for all, shared-shape and unshared-shape instances.

    ``image`` counts pictures: those in which every instance (of the group) is right. A figure
    of nothing is None, with n = 0.
    """
    table: dict[str, dict[str, Figure]] = {metric: {} for metric in METRICS}
    for group in GROUPS:
        chosen = [j for j in judged if group == "all" or j.shared == (group == "shared")]
        pictures: dict[int, bool] = {}
        for one in chosen:
            pictures[one.picture] = pictures.get(one.picture, True) and one.right
        table["colour"][group] = share_figure([j.colour for j in chosen])
        table["colour_iou"][group] = share_figure([j.right for j in chosen])
        table["shape"][group] = share_figure([j.shape for j in chosen if j.shape is not None])
        table["iou"][group] = mean_figure([j.iou for j in chosen])
        table["image"][group] = share_figure(list(pictures.values()))
    return table
