"""What of a layout is likely to fail, from what a model has seen in its training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from threedis_core.plugin.registrations import TrainedOn
from threedis_core.run.sizes import Size
from threedis_core.values.layout import Box, Layout
from threedis_core.values.nouns import colours_of
from threedis_core.values.problems import shown

MOST_NAMED = 5
ROUNDING = 1e-3


def likely_to_fail(layout: Layout, size: Size, who: str, seen: TrainedOn) -> tuple[str, ...]:
    """What is beyond the training of a model, in a line each.

    Args:
        layout: What is where.
        size: (width, height) of what the model will make, in pixels.
        who: "renderer 'pocket-sd15'".
        seen: What the model has seen.
    """
    boxes = [instance.box for instance in layout.instances]
    return (
        *_small(boxes, who, seen.smallest_box),
        *_many(boxes, who, seen.most_instances),
        *_crowded(boxes, who, seen.most_overlap),
        *_odd_sides(size, who, seen.sides),
        *_strange_colours(layout, who, seen.colours),
    )


def _small(boxes: Sequence[Box], who: str, least: float | None) -> Iterator[str]:
    sides = [min(box.x1 - box.x0, box.y1 - box.y0) for box in boxes]
    small = [n for n, side in enumerate(sides) if least and side < least - ROUNDING]
    if small:
        yield (
            f"{_named(small)}: a side of {min(sides):.2g} of the picture, but {who} was trained on "
            f"boxes of {least:.2g} and more; draw {_it(small)} larger"
        )


def _many(boxes: Sequence[Box], who: str, most: int | None) -> Iterator[str]:
    if most is not None and len(boxes) > most:
        yield (
            f"{len(boxes)} instances, but {who} was trained on at most {most}; some may be missing "
            "or of another colour: leave some out"
        )


def _crowded(boxes: Sequence[Box], who: str, most: float | None) -> Iterator[str]:
    if most is None:
        return
    pairs = {(a, b): covered(boxes[a], boxes[b]) for a, b in combinations(range(len(boxes)), 2)}
    worst = max(pairs, key=pairs.__getitem__, default=None)
    if worst is not None and pairs[worst] > most + ROUNDING:
        yield (
            f"instances[{worst[0]}] and [{worst[1]}] overlap by {pairs[worst]:.2g} of the smaller "
            f"box, but {who} was trained on at most {most:.2g}; move them apart"
        )


def _odd_sides(size: Size, who: str, sides: tuple[int, int] | None) -> Iterator[str]:
    if sides is not None and not (sides[0] <= min(size) and max(size) <= sides[1]):
        known = f"{sides[0]} to {sides[1]}" if sides[0] < sides[1] else f"{sides[0]}"
        yield (
            f"{size[0]} x {size[1]} pixels, but {who} was trained on sides of {known}; give a "
            "--width and --height of that kind"
        )


def _strange_colours(layout: Layout, who: str, known: tuple[str, ...] | None) -> Iterator[str]:
    for number, instance in enumerate(layout.instances if known else ()):
        strange = [word for word in colours_of(instance.prompt) if word not in (known or ())]
        if strange:
            yield (
                f"instances[{number}]: {who} was not trained on {shown(strange[0])}; it may take "
                f"any colour: use one of {', '.join(known or ())}"
            )


def covered(one: Box, other: Box) -> float:
    """The share of the smaller box that the other one covers, in [0, 1]."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    least = min(one.area, other.area)
    return max(width, 0.0) * max(height, 0.0) / least if least > 0 else 0.0


def _named(numbers: Sequence[int]) -> str:
    named = ", ".join(f"instances[{number}]" for number in numbers[:MOST_NAMED])
    more = len(numbers) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _it(numbers: Sequence[int]) -> str:
    return "it" if len(numbers) == 1 else "them"
