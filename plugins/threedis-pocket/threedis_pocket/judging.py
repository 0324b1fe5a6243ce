"""The detector ``pocket-objects`` and the metric ``pocket``: judges of the pocket world.

They need no weights. H, W = height and width of a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property

import numpy as np
from pydantic import Field

from threedis_core.errors import LayoutError
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
from threedis_core.values.layout import Layout
from threedis_core.values.masks.mask import Mask
from threedis_pocket.bench.detector import Detection, Detector, classify_pixels
from threedis_pocket.bench.measure import Judgement, Observation, decide, observe
from threedis_pocket.bench.shapes import VISIBLE, visible_shares
from threedis_pocket.layouts import colour_index, layout_scene, shape_index
from threedis_pocket.shapes import SHAPES

SIDE = 128
"""Side of a picture that was not made, in pixels: what of a layout could have been seen in it."""


class PocketObjectsOptions(BackendOptions):
    """``pocket-objects`` has no options."""


class PocketObjects(InstanceDetector):
    """Find spheres, cubes, cylinders and cones by their hue and their silhouette.

    A box is sure by how well its silhouette fits its shape's. A mask is the most frequent colour
    in the layout's box. ``facts`` has what the metric ``pocket`` reads.
    """

    Options = PocketObjectsOptions

    @cached_property
    def _detector(self) -> Detector:
        return Detector()

    def detect(
        self, requests: Sequence[DetectRequest], progress: Progress = silent
    ) -> list[tuple[InstanceFinding, ...]]:
        """Look at every picture.

        Raises:
            LayoutError: A layout names things that are not of the pocket world.
        """
        for request in requests:
            layout_scene(request.layout)
        answers: list[tuple[InstanceFinding, ...]] = []
        for request in requests:
            answers.append(self._find(request.layout, np.asarray(request.image.convert("RGB"))))
            progress("detect", len(answers), len(requests))
        return answers

    def _find(self, layout: Layout, picture: np.ndarray) -> tuple[InstanceFinding, ...]:
        if not layout.instances:
            return ()
        found = self._detector.detect(picture)
        classes = classify_pixels(picture)
        return tuple(
            InstanceFinding(
                _of_shape(found, SHAPES[shape_index(instance.noun, slot)]),
                (_mask(classes, instance.box),),
                asdict(seen),
            )
            for slot, (instance, seen) in enumerate(
                zip(layout.instances, observe(layout, picture, found), strict=True)
            )
        )


class PocketOptions(MetricOptions):
    """Options of ``pocket``."""

    detector: str = Field(
        default="pocket-objects",
        min_length=1,
        description="The instance detector whose findings are scored; it must be of this world.",
    )


class Pocket(Metric):
    """Is every object where it should be, in its colour and of its shape?"""

    Options = PocketOptions
    options: PocketOptions
    figures = (
        Figure(
            "colour_iou",
            "colour + IoU",
            "Share of instances in their colour whose box has IoU of at least 0.5 with its own.",
            key="right",
        ),
        Figure("colour", "colour", "Share of instances in their colour."),
        Figure(
            "shape",
            "shape",
            "Share of instances, of those that can be seen, that have their colour and shape.",
        ),
        Figure("iou", "mean IoU", "Mean IoU of the best box of its colour; 0 in a wrong colour."),
        Figure("image", "whole image", "Share of pictures all of it right.", per="picture"),
    )

    def check_layout(self, layout: Layout) -> None:
        """See that a layout is of the pocket world.

        Raises:
            LayoutError: An instance names no single shape or no single colour of it.
        """
        layout_scene(layout)
        for slot, instance in enumerate(layout.instances):
            if colour_index(layout, slot) is None:
                raise LayoutError(
                    f"instances[{slot}] ({instance.prompt!r}) names no single colour of the "
                    "pocket world; the metric 'pocket' needs one"
                )

    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Score what ``pocket-objects`` found in every picture.

        Raises:
            LayoutError: A layout that is not of the pocket world, or findings of another detector.
        """
        for request in requests:
            self.check_layout(request.layout)
        scores: list[PictureScore] = []
        for request in requests:
            seen = [observation(one) for one in request.findings or ()]
            scores.append(_score(decide(request.layout, seen)))
            progress("score", len(scores), len(requests))
        return scores

    def missing(self, layout: Layout) -> PictureScore:
        """Nothing is right; shapes do not count of instances that others hide."""
        shares = visible_shares(layout_scene(layout), SIDE, SIDE) if layout.instances else []
        nothing = [
            Judgement(0, False, False, 0.0, False if share >= VISIBLE else None, False)
            for share in shares
        ]
        return _score(nothing)


def _score(judged: Sequence[Judgement]) -> PictureScore:
    rows = tuple(
        {
            "found": one.there,
            "colour": one.colour,
            "right": one.right,
            "iou": one.iou,
            "shape": one.shape,
        }
        for one in judged
    )
    return PictureScore(rows, {"image": all(one.right for one in judged) if judged else None})


def observation(finding: InstanceFinding) -> Observation:
    """What ``pocket-objects`` saw of an instance.

    Raises:
        LayoutError: The finding is another detector's.
    """
    facts = dict(finding.facts)
    try:
        boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in facts.pop("boxes"))
        return Observation(boxes=boxes, **facts)
    except (KeyError, TypeError) as error:
        raise LayoutError(
            "the findings are not of 'pocket-objects'; choose it as the detector of 'pocket'"
        ) from error


def _of_shape(found: Sequence[Detection], shape: str) -> tuple[FoundBox, ...]:
    return tuple(
        FoundBox(one.box, one.fit, f"{one.colour} {one.shape}")
        for one in found
        if one.shape == shape
    )


def _mask(classes: np.ndarray, box: Box) -> FoundMask:
    """The most frequent colour in a box; its score is the share of the box that it fills."""
    part = box_tokens(box, *classes.shape)
    inside = classes[part]
    colours = Counter(inside[inside >= 0].tolist()).most_common(1)
    if not colours:
        return FoundMask(None, 0.0)
    pixels = np.zeros(classes.shape, dtype=bool)
    pixels[part] = inside == colours[0][0]
    return FoundMask(Mask.encode(pixels), float(colours[0][1] / inside.size))
