"""Measuring pictures of pocket layouts: is every object where it should be, in its colour?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from threedis_core.compare.statistics.layouts import mean_of_layouts
from threedis_core.values.layout import Box, Layout
from threedis_pocket.bench.detector import Detection, Detector, classify_pixels
from threedis_pocket.bench.shapes import VISIBLE, shape_at, visible_shares
from threedis_pocket.layouts import colour_index, layout_scene, shape_index
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
        layout: Number of the layout; pictures of one layout are not independent.
    """

    picture: int
    shared: bool
    colour: bool
    iou: float
    shape: bool | None = None
    there: bool = True
    layout: int = 0

    @property
    def right(self) -> bool:
        """Colour right, and box IoU at least 0.5."""
        return self.colour and self.iou >= 0.5


@dataclass(frozen=True)
class Observation:
    """What a picture shows of one instance, before anything is decided.

    Args:
        colour: The most frequent colour on the instance's pixels; None for background, or if others
            hide all of it.
        boxes: Where objects of the prompt's colour are, x0 y0 x1 y1 in [0, 1].
        near: The largest IoU of any object's box with the layout's.
        visible: The share of the instance that others leave to be seen.
        shape: The shape that explains the picture best, asked only where the colour is right and
            the instance can be seen.
    """

    colour: str | None
    boxes: tuple[tuple[float, float, float, float], ...]
    near: float
    visible: float
    shape: str | None = None


def observe(layout: Layout, picture: np.ndarray, found: Sequence[Detection]) -> list[Observation]:
    """Look at every instance of a pocket layout in a picture of it.

    Args:
        layout: Pocket shapes; every prompt names one colour.
        picture: RGB, (H, W, 3) uint8.
        found: All objects in the picture.
    """
    scene = layout_scene(layout)
    height, width = picture.shape[:2]
    seen = draw(scene, height, width, supersample=1).ids[0].numpy()
    shares = visible_shares(scene, height, width)
    classes = classify_pixels(picture)
    observed: list[Observation] = []
    for slot, instance in enumerate(layout.instances):
        wanted = COLOURS[colour_index(layout, slot) or 0]
        pixels = Counter(classes[seen == slot].tolist())
        most = pixels.most_common(1)[0][0] if pixels else -1
        one = Observation(
            COLOURS[most] if most >= 0 else None,
            tuple(d.box for d in found if d.colour == wanted),
            max((_iou(instance.box, d.box) for d in found), default=0.0),
            shares[slot],
        )
        if is_right(layout, slot, one) and shares[slot] >= VISIBLE:
            near = [box for box in one.boxes if _iou(instance.box, box) >= NEAR]
            places = [instance.box.xyxy, *([_best(instance.box, one)] if near else [])]
            one = replace(one, shape=shape_at(picture, scene, slot, places))
        observed.append(one)
    return observed


def is_right(layout: Layout, slot: int, seen: Observation) -> bool:
    """True if an instance has the one colour that its prompt names."""
    colour = colour_index(layout, slot)
    return colour is not None and seen.colour == COLOURS[colour]


def decide(
    layout: Layout, observed: Sequence[Observation], number: int = 0, place: int | None = None
) -> list[Judgement]:
    """Judge what was observed of every instance.

    ``number`` and ``place``, the layout's own, are kept in the judgements.
    """
    kinds = [shape_index(one.noun, slot) for slot, one in enumerate(layout.instances)]
    times = Counter(kinds)
    judged: list[Judgement] = []
    for slot, (instance, seen) in enumerate(zip(layout.instances, observed, strict=True)):
        right = is_right(layout, slot, seen)
        iou = _iou(instance.box, _best(instance.box, seen)) if right and seen.boxes else 0.0
        shape = None
        if seen.visible >= VISIBLE:
            shape = right and seen.shape == SHAPES[kinds[slot]]
        there = right or seen.near >= NEAR
        shared, of = times[kinds[slot]] > 1, number if place is None else place
        judged.append(Judgement(number, shared, right, iou, shape, there, of))
    return judged


def judge(
    layout: Layout,
    picture: np.ndarray,
    detector: Detector,
    number: int = 0,
    place: int | None = None,
) -> list[Judgement]:
    """Judge every instance of a pocket layout in a picture of it.

    Args:
        layout: Pocket shapes; every prompt names one colour.
        picture: RGB, (H, W, 3) uint8.
        detector: Finds the objects.
        number: The picture's number, kept in the judgements.
        place: The layout's number; None: each picture is of a layout of its own.
    """
    return decide(layout, observe(layout, picture, detector.detect(picture)), number, place)


def _best(box: Box, seen: Observation) -> tuple[float, float, float, float]:
    return max(seen.boxes, key=lambda one: _iou(box, one), default=box.xyxy)


def _iou(box: Box, found: tuple[float, float, float, float]) -> float:
    return box.iou(Box.from_xyxy(found))


Figure = dict[str, float | int | None]
_NOTHING: Figure = {"value": None, "low": None, "high": None, "n": 0}


def mean_figure(values: Sequence[float], layouts: Sequence[int]) -> Figure:
    """A mean of values in [0, 1], or a share, with its 95 % interval.

    Instances of one layout, and pictures of it, are not independent: the interval is of layouts
    that are drawn again (BCa bootstrap), Wilson's on their number where all of them agree.

    Args:
        values: Of instances or pictures.
        layouts: The layout of each.
    """
    if not values:
        return dict(_NOTHING)
    found = mean_of_layouts([float(value) for value in values], layouts)
    low, high = found.interval.low, found.interval.high
    return {"value": found.value, "low": low, "high": high, "n": len(values)}


def instance_layouts(layouts: Sequence[Layout], seeds: int = 1) -> list[int]:
    """The number of the layout of each instance, of every layout with every seed in turn."""
    return [n for n, one in enumerate(layouts) for _ in range(seeds) for _ in one.instances]


def summarise(judged: Sequence[Judgement]) -> dict[str, dict[str, Figure]]:
    """Every metric for all, shared-shape and unshared-shape instances.

    ``image`` counts pictures: those in which every instance (of the group) is right. A figure
    of nothing is None, with n = 0.
    """
    table: dict[str, dict[str, Figure]] = {metric: {} for metric in METRICS}
    for group in GROUPS:
        chosen = [j for j in judged if group == "all" or j.shared == (group == "shared")]
        layouts = [j.layout for j in chosen]
        judged_shapes = [(j.shape, j.layout) for j in chosen if j.shape is not None]
        pictures: dict[int, tuple[bool, int]] = {}
        for one in chosen:
            before, _ = pictures.get(one.picture, (True, one.layout))
            pictures[one.picture] = before and one.right, one.layout
        table["colour"][group] = mean_figure([j.colour for j in chosen], layouts)
        table["colour_iou"][group] = mean_figure([j.right for j in chosen], layouts)
        table["shape"][group] = mean_figure(*apart(judged_shapes))
        table["iou"][group] = mean_figure([j.iou for j in chosen], layouts)
        table["image"][group] = mean_figure(*apart(list(pictures.values())))
    return table


def apart(pairs: Sequence[tuple[bool, int]]) -> tuple[list[bool], list[int]]:
    """Values and their layouts, each in a list of its own."""
    return [value for value, _ in pairs], [layout for _, layout in pairs]
