"""The labels of a drawn layout: what they say, where there is room for them, and drawing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from threedis_core.drawing.lettering import Font, Lettering, wrap
from threedis_core.drawing.page import WHITE
from threedis_core.values.layout import Layout
from threedis_core.values.palette import Color, plate_color

MOST_LETTERS = 200
"""Of a prompt: more fit no label."""
MAX_LINES = 3
# In units of the drawing: height of letters and lines, padding beside and above the text, and how
# far a label stays off its box.
LETTER, LINE, PADDING_X, PADDING_Y = 14, 17, 6, 3
LABEL_GAP = 4
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """Lines of text on a plate, which is a rectangle in pixels; ``whole`` if none of it is cut."""

    lines: tuple[str, ...]
    font: Font
    plate: Rectangle
    whole: bool


def place_labels(
    layout: Layout,
    rectangles: Sequence[Rectangle],
    size: tuple[int, int],
    unit: float,
    numbered: bool = False,
) -> dict[int, Label]:
    """Labels by instance, each inside the picture, and off the others where there is room.

    A prompt that would cover another label is cut to one line, and if that does not help, its place
    is taken by its instance's number in the layout, as in "#3".

    Args:
        layout: Whose instances to name.
        rectangles: Their boxes in pixels of the drawing.
        size: (width, height) of the drawing.
        unit: Size of lines and letters, relative.
        numbered: Write the numbers alone: what they stand for is told beside the drawing.
    """
    lettering = Lettering(round(LETTER * unit))
    labels: dict[int, Label] = {}
    for index, (instance, box) in enumerate(zip(layout.instances, rectangles, strict=True)):
        taken = np.array([label.plate for label in labels.values()]).reshape(-1, 4)
        others = np.array([*rectangles[:index], *rectangles[index + 1 :]]).reshape(-1, 4)
        prompt = " ".join(instance.prompt.split())
        text, font = lettering.readable(prompt[:MOST_LETTERS], otherwise=f"#{index}")
        inner = box[2] - box[0] - 2 * LABEL_GAP * unit
        # A label stays inside its box if the box is not too narrow for words.
        room = (inner if inner > 0.2 * size[0] else 0.35 * size[0]) - 2 * PADDING_X * unit
        ways = [wrap(text, font, room, most) for most in (MAX_LINES, 1)] + [(f"#{index}",)]
        for lines in [(str(index),)] if numbered else ways:
            plate = _plate_size(lines, font, unit)
            if not lines or plate[0] > size[0] or plate[1] > size[1]:
                continue
            place = _free_place(box, plate, size, taken, others, unit)
            whole = numbered or "".join(lines).replace(" ", "") == prompt.replace(" ", "")
            labels[index] = Label(lines, font, place, whole)
            if _overlap(place, taken) <= 0:
                break
    return labels


def _plate_size(lines: Sequence[str], font: Font, unit: float) -> tuple[float, float]:
    """(width, height) in pixels of the plate that lines are written on."""
    width = max((font.getlength(line) for line in lines), default=0)
    return width + 2 * PADDING_X * unit, (len(lines) * LINE + 2 * PADDING_Y) * unit


def _free_place(
    box: Rectangle,
    plate: tuple[float, float],
    size: tuple[int, int],
    taken: NDArray[np.float64],
    others: NDArray[np.float64],
    unit: float,
) -> Rectangle:
    """Where the plate covers the least of the others: inside the box's corners, or else around it.

    ``taken`` are the plates that are there, ``others`` the other boxes, which are worth less.
    """
    width, height = plate
    gap = LABEL_GAP * unit
    inside = box[2] - box[0] >= width + 2 * gap and box[3] - box[1] >= height + 2 * gap
    within = [
        (box[0] + gap, box[1] + gap),
        (box[0] + gap, box[3] - gap - height),
        (box[2] - gap - width, box[1] + gap),
        (box[2] - gap - width, box[3] - gap - height),
    ]
    around = [
        (box[0], box[1] - gap - height),
        (box[0], box[3] + gap),
        (box[2] + gap, box[1]),
        (box[0] - gap - width, box[1]),
    ]
    best, least = (0.0, 0.0, width, height), float("inf")
    for left, top in (within + around) if inside else around:
        x0 = min(max(left, 0), size[0] - width)
        y0 = min(max(top, 0), size[1] - height)
        place = (x0, y0, x0 + width, y0 + height)
        covered = _overlap(place, taken)
        # A place that had to be pushed back into the picture may hide its own box.
        if not inside:
            covered += 0.5 * _overlap(place, np.array([box])) + 0.2 * _overlap(place, others)
        if covered < least:
            best, least = place, covered
    return best


def _overlap(place: Rectangle, others: NDArray[np.float64]) -> float:
    """Pixels of ``place`` that the other rectangles, shape (count, 4), cover, added up."""
    width = np.minimum(place[2], others[:, 2]) - np.maximum(place[0], others[:, 0])
    height = np.minimum(place[3], others[:, 3]) - np.maximum(place[1], others[:, 1])
    return float((np.maximum(width, 0) * np.maximum(height, 0)).sum())


def draw_label(canvas: Image.Image, label: Label, color: Color, unit: float) -> None:
    """Draw a label on a plate of its instance's colour, darker for the sake of white letters."""
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle(label.plate, radius=4 * unit, fill=plate_color(color))
    padding_x, padding_y, line_height = PADDING_X * unit, PADDING_Y * unit, LINE * unit
    for index, line in enumerate(label.lines):
        middle = label.plate[1] + padding_y + (index + 0.5) * line_height
        start = (label.plate[0] + padding_x, middle)
        draw.text(start, line, fill=WHITE, font=label.font, anchor="lm")
