"""Parts that layouts and instances are put into, to see where a system fails.

N = number of instances of a layout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from threedis_core.compare.plan.models import PlannedLayout
from threedis_core.presence.measure import SEEN
from threedis_core.values.layout import Layout

LEVEL, OVERLAP, SIZE, SAME_NOUN, IN_DEPTH = (
    "level",
    "overlap",
    "size",
    "same noun",
    "in depth map",
)
OF_LAYOUTS = (LEVEL, OVERLAP)
"""The strata that a whole layout belongs to; in the others its instances differ."""
OVERLAPS = (0.05, 0.2)
"""Largest IoU of two boxes of a layout at which a stratum ends."""
SIZES = (0.02, 0.1)
"""Shares of the picture's area at which a stratum of boxes ends."""
SHOWN, NOT_SHOWN, UNKNOWN = "shown", "not shown", "cannot be told"
Labels = Mapping[str, Sequence[str | None]]
"""For each stratum the label of every instance; None: it belongs to none."""


def strata_of(planned: PlannedLayout) -> Labels:
    """The strata of each instance of a layout that need no depth map."""
    layout = planned.layout
    if layout is None:
        return {}
    count = len(layout.instances)
    level = None if planned.level is None else f"L{planned.level}"
    nouns = Counter(instance.noun.lower() for instance in layout.instances)
    overlap = _between(largest_overlap(layout), OVERLAPS, "{:g}".format)
    return {
        LEVEL: [level] * count,
        OVERLAP: [overlap] * count,
        SIZE: [_between(one.box.area, SIZES, "{:.0%}".format) for one in layout.instances],
        SAME_NOUN: [
            "shared" if nouns[one.noun.lower()] > 1 else "alone" for one in layout.instances
        ],
    }


def in_depth(presence: Sequence[float | None]) -> list[str]:
    """Whether the depth map shows each instance, by its presence score."""
    return [
        UNKNOWN if score is None else SHOWN if score >= SEEN else NOT_SHOWN for score in presence
    ]


def order_of(stratum: str, label: str) -> tuple[int, str]:
    """Where a label stands among those of its stratum."""
    orders = {
        OVERLAP: _labels(OVERLAPS, "{:g}".format),
        SIZE: _labels(SIZES, "{:.0%}".format),
        SAME_NOUN: ["alone", "shared"],
        IN_DEPTH: [SHOWN, NOT_SHOWN, UNKNOWN],
    }
    known = orders.get(stratum, [])
    return (known.index(label) if label in known else len(known) + len(label), label)


def largest_overlap(layout: Layout) -> float:
    """The largest IoU of two boxes of a layout; 0 if it has fewer than two."""
    boxes = [instance.box for instance in layout.instances]
    pairs = ((one, other) for place, one in enumerate(boxes) for other in boxes[:place])
    return max((one.iou(other) for one, other in pairs), default=0.0)


def _labels(ends: Sequence[float], told: Callable[[float], str]) -> list[str]:
    first, last = told(ends[0]), told(ends[-1])
    middle = [f"{told(low)} to {told(high)}" for low, high in pairwise(ends)]
    return [f"below {first}", *middle, f"from {last}"]


def _between(value: float, ends: Sequence[float], told: Callable[[float], str]) -> str:
    return _labels(ends, told)[sum(value >= end for end in ends)]
