"""The metric ``coco-mig``: is every instance there, in its box and in its colour?

N = number of instances of a layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from threedis_core.errors import LayoutError
from threedis_core.metrics.boxes import ious, suppress
from threedis_core.metrics.colours import colour_counts, in_colour, named_colour
from threedis_core.metrics.resizing import stretch
from threedis_core.plugin.judging.interfaces import (
    Figure,
    FoundMask,
    InstanceFinding,
    Metric,
    MetricOptions,
    PictureScore,
    ScoreRequest,
    Value,
)
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.box import Box
from threedis_core.values.layout import Layout
from threedis_core.values.masks.mask import Mask
from threedis_core.values.regions import nearest

SIDE = 512
"""A picture of another height is stretched to a square of this side."""
FIGURES = (
    Figure("isr", "ISR", "Share of instances found in their box and in their colour.", key="right"),
    Figure(
        "miou",
        "mIoU",
        "Mean over instances of the best box's IoU with the layout's; 0 where the colour is wrong.",
        key="iou",
    ),
    Figure("sr", "SR", "Share of pictures all of whose instances are right.", per="picture"),
)


class CocoMigOptions(MetricOptions):
    """Options of ``coco-mig``; the defaults are the benchmark's."""

    box_threshold: float = Field(
        default=0.25, ge=0, le=1, description="Boxes of this score or less are not looked at."
    )
    suppression: float = Field(
        default=0.8, ge=0, le=1, description="IoU above which a box counts as found twice."
    )
    least_iou: float = Field(
        default=0.5, ge=0, le=1, description="IoU with its box from which an instance is found."
    )
    least_colour: float = Field(
        default=0.2, ge=0, le=1, description="Share of the mask that must have the colour."
    )


class CocoMig(Metric):
    """Judge as COCO-MIG does; boxes are not matched one to one.

    1. An instance is found if the best of the boxes for its noun has IoU >= 0.5 with its own box.
    2. Its colour is right if a fifth of its mask, the one of the best score, is of that colour.
    3. It is right if both hold. Its IoU counts where it is not found, too, but is 0 where it is
       found in a wrong colour.

    Source:
        MIGC (arXiv 2402.05408); checked against the published judge's own functions.
    """

    Options = CocoMigOptions
    options: CocoMigOptions
    figures = FIGURES

    def check_layout(self, layout: Layout) -> None:
        """See that every prompt names one of the seven colours.

        Raises:
            LayoutError: One does not.
        """
        for number, instance in enumerate(layout.instances):
            try:
                named_colour(instance.prompt)
            except ValueError as error:
                raise LayoutError(f"instances[{number}]: {error}; coco-mig needs one") from None

    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Judge every picture.

        Raises:
            LayoutError: An instance that names no colour.
        """
        for request in requests:
            self.check_layout(request.layout)
        scores: list[PictureScore] = []
        for request in requests:
            scores.append(self._score(request))
            progress("score", len(scores), len(requests))
        return scores

    def _score(self, request: ScoreRequest) -> PictureScore:
        instances, look = request.layout.instances, _Looked(request.open_picture)
        judged = tuple(
            self.judge(instance.box, named_colour(instance.prompt), finding, look)
            for instance, finding in zip(instances, request.findings or (), strict=True)
        )
        every = all(one["right"] for one in judged) if judged else None
        return PictureScore(judged, {"sr": every})

    def judge(
        self,
        box: Box,
        colour: str,
        finding: InstanceFinding,
        look: Callable[[], Image.Image],
    ) -> Mapping[str, Value]:
        """Judge one instance.

        Args:
            box: Where it should be.
            colour: One of the seven.
            finding: What was found of it.
            look: Gives the picture as it is judged; called only where the colour matters.
        Returns:
            ``found``, ``colour`` (False where it is not found), ``right``, ``iou`` as it counts,
            and ``box_iou``, the best box's.
        """
        likely = [one for one in finding.boxes if one.score > self.options.box_threshold]
        kept = suppress(likely, self.options.suppression)
        best = float(ious(box.xyxy, [one.xyxy for one in kept]).max(initial=0.0))
        found = best >= self.options.least_iou
        right = found and self._share(finding, colour, look) >= self.options.least_colour
        iou = best if right or not found else 0.0
        return {"found": found, "colour": right, "right": right, "iou": iou, "box_iou": best}

    def _share(
        self, finding: InstanceFinding, colour: str, look: Callable[[], Image.Image]
    ) -> float:
        """The share of the surest mask that has a colour; -1 if it is empty."""
        places = range(len(finding.masks))
        best = max(places, key=lambda place: finding.masks[place].score, default=None)
        mask = None if best is None else finding.masks[best].mask
        if best is None or mask is None:
            return -1.0
        stored = stored_counts(finding.facts, best)
        if stored is not None:
            return stored[colour] / stored["all"] if stored["all"] else -1.0
        inside = inside_of(mask, look())
        return float(in_colour(inside, colour).mean()) if len(inside) else -1.0


def inside_of(mask: Mask, picture: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB picture that a mask of any size covers, shape (K, 3)."""
    pixels = np.asarray(picture)
    return pixels[nearest(mask.decode(), *pixels.shape[:2])]


def colour_facts(masks: Sequence[FoundMask], picture: Image.Image) -> dict[str, Any]:
    """What a detector may keep of a picture among its facts, so that scoring need not open it.

    Args:
        masks: Of one instance.
        picture: RGB, as the detector looked at it.
    """
    counts = [
        None if one.mask is None else colour_counts(inside_of(one.mask, picture)) for one in masks
    ]
    return {"colours": {"side": picture.height, "version": CocoMig.version, "masks": counts}}


def stored_counts(facts: Mapping[str, Any], mask: int) -> Mapping[str, int] | None:
    """What ``colour_facts`` kept of a mask, if it was counted as this version counts."""
    kept = facts.get("colours")
    if not kept or (kept["side"], kept["version"]) != (SIDE, CocoMig.version):
        return None
    return kept["masks"][mask]


class _Looked:
    """The picture as it is judged, opened at the first look."""

    def __init__(self, open_picture: Callable[[], Image.Image]) -> None:
        self._open = open_picture
        self._picture: Image.Image | None = None

    def __call__(self) -> Image.Image:
        if self._picture is None:
            picture = self._open().convert("RGB")
            self._picture = picture if picture.height == SIDE else stretch(picture, SIDE, SIDE)
        return self._picture
