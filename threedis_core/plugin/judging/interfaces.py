"""The interfaces of judging: detectors find a layout's instances in pictures, metrics score that.

What a detector finds is stored, so that a changed rule needs no model. Importing this module
imports neither torch nor transformers.

N = number of instances of a layout; P = number of pictures; R = number of weightings of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Backend, BackendOptions
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.layout import Layout
from threedis_core.values.masks.mask import Mask

Value = float | bool | None
"""A fact or a figure of one instance or picture; None: it does not count."""


@dataclass(frozen=True, eq=False)
class DetectRequest:
    """One picture to look at: RGB, of any size, and what should be where in it."""

    layout: Layout
    image: Image.Image


@dataclass(frozen=True)
class FoundBox:
    """A box that a detector found for an instance's noun, anywhere in the picture.

    Args:
        xyxy: Left, top, right, bottom in fractions of the picture; may reach a little beyond it.
        score: How sure the detector is, in [0, 1].
        label: What it is, in the detector's own words; "" if it says nothing.
    """

    xyxy: tuple[float, float, float, float]
    score: float
    label: str = ""


@dataclass(frozen=True)
class FoundMask:
    """A mask that a detector made of an instance's own box: None where it is empty."""

    mask: Mask | None
    score: float


@dataclass(frozen=True)
class InstanceFinding:
    """What a detector found of one instance, raw: nothing is suppressed or decided.

    Args:
        boxes: Every box for the instance's noun, those of low score too.
        masks: Its masks, asked with the layout's box; any number, none if it makes no masks.
        facts: JSON-ready, for metrics that know this detector.
    """

    boxes: tuple[FoundBox, ...] = ()
    masks: tuple[FoundMask, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class InstanceDetector(Backend):
    """Find the instances of layouts in pictures. Making one is cheap: it loads nothing."""

    kind = "instance detector"
    version: ClassVar[int] = 1
    """Raise it when the same options find something else: stored findings are then made again."""

    @abstractmethod
    def detect(
        self, requests: Sequence[DetectRequest], progress: Progress = silent
    ) -> list[tuple[InstanceFinding, ...]]:
        """Look at a batch of pictures: for each, one finding per instance of its layout, in order.

        The requests may differ in everything. Each answer is the one the request gives alone.

        Raises:
            InputError: A request this detector cannot serve, before any weight is loaded.
            WeightsError: The model is missing or unreadable.
        """

    def check(self) -> None:
        """See that these options can work on this machine; loads no weights.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: The model, or a part of it, is missing or of another kind.
        """

    def inspect(self) -> Inspection:
        """What it needs with these options, and what of it this machine has; loads nothing."""
        return Inspection()


@dataclass(frozen=True)
class Figure:
    """A column of the table.

    Args:
        name: What a plan calls it: "isr".
        title: What a table calls it: "ISR".
        meaning: One plain sentence.
        per: What it is the mean of: a value of every ``instance``, or one of every ``picture``;
            ``pooled``: no mean, ``Metric.pool`` computes it.
        key: Its name among the values of an instance or picture; "" if that is ``name``.
        better: Which way is better.
        share: True for values in [0, 1] that people read in per cent.
    """

    name: str
    title: str
    meaning: str
    per: Literal["instance", "picture", "pooled"] = "instance"
    key: str = ""
    better: Literal["higher", "lower"] = "higher"
    share: bool = True

    @property
    def value_key(self) -> str:
        """Its name among the values of an instance or picture."""
        return self.key or self.name


@dataclass(frozen=True, eq=False)
class ScoreRequest:
    """One picture to score.

    Args:
        layout: What should be where.
        findings: What the metric's detector found, one per instance; None if it reads none.
        open_picture: Gives the picture, RGB; only a metric that looks at pixels calls it.
    """

    layout: Layout
    findings: tuple[InstanceFinding, ...] | None
    open_picture: Callable[[], Image.Image]


@dataclass(frozen=True)
class PictureScore:
    """The scores of one picture, JSON-ready.

    Args:
        instances: For each instance the values of every figure of instances by their keys, and
            what else a person may want to know of it (``found``, ``colour``); None: does not count.
        picture: The values of every figure of pictures by their keys, and the like.
        data: What ``pool`` needs; plain JSON.
    """

    instances: tuple[Mapping[str, Value], ...]
    picture: Mapping[str, Value] = field(default_factory=dict[str, Value])
    data: Any = None


Pooler = Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]]
"""From how often each of P pictures counts, shape (R, P), whole numbers from 0, to the value of
every pooled figure under each of the R weightings, shape (R,)."""


class MetricOptions(BackendOptions):
    """Options of every metric that reads a detector."""

    detector: str = Field(
        default="grounding-dino",
        min_length=1,
        description="The instance detector whose findings are scored.",
    )


class Metric(Backend):
    """Score pictures of layouts. Making one is cheap: it loads nothing."""

    kind = "metric"
    version: ClassVar[int] = 1
    """Raise it when the rule changes: stored scores are then made again."""
    figures: ClassVar[tuple[Figure, ...]]
    """What it tells, the most important first."""
    note: ClassVar[str] = ""
    """What a reader of its figures must know; stands below the table."""

    @property
    def detector(self) -> str | None:
        """Name of the instance detector whose findings it reads; None: it reads none."""
        return self.options.detector if isinstance(self.options, MetricOptions) else None

    @abstractmethod
    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Score a batch of pictures, in order. Each score is the one the request gives alone.

        Raises:
            InputError: A layout that it cannot score.
            WeightsError: It has a model of its own, which is missing or unreadable.
        """

    def pool(self, scores: Sequence[PictureScore]) -> Pooler:
        """Get ready to compute the figures that are ``pooled``, of weightings of P pictures.

        Args:
            scores: P of them; what does not depend on the weights is computed once, here.
        Returns:
            What computes the figures; it is called for many weightings.
        """
        raise NotImplementedError(f"{type(self).__name__} has pooled figures; override pool")

    def missing(self, layout: Layout) -> PictureScore:
        """The score of a picture that could not be made: every figure is 0.

        Override it if ``score`` leaves instances out, or if it has pooled figures.
        """
        zeros: dict[str, dict[str, Value]] = {"instance": {}, "picture": {}, "pooled": {}}
        for figure in self.figures:
            zeros[figure.per][figure.value_key] = 0.0
        return PictureScore(tuple(zeros["instance"] for _ in layout.instances), zeros["picture"])

    def check_layout(self, layout: Layout) -> None:
        """See that ``score`` can serve pictures of ``layout``; loads nothing.

        Raises:
            InputError: It cannot, such as an instance that names no colour.
        """

    def check(self) -> None:
        """See that these options can work on this machine; loads no weights.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: The model, or a part of it, is missing or of another kind.
        """

    def inspect(self) -> Inspection:
        """What it needs with these options, and what of it this machine has; loads nothing."""
        return Inspection()
