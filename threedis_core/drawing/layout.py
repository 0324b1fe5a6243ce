"""Draw a layout: its boxes, and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from threedis_core.drawing.lettering import Font, Lettering, wrap
from threedis_core.values.layout import Layout
from threedis_core.values.palette import Color, instance_color

SMALLEST_SIDE = 512
LARGEST_SIDE = 2048
# Shapes are drawn this many times larger and then averaged, because Pillow draws hard edges.
SUPERSAMPLING = 2
MOST_PAINTED = 2**29
"""Pixels that all boxes cover together, as large as they are drawn: some seconds of painting."""
MOST_LETTERS = 200
"""Of a prompt: more fit no label."""
PAPER: Color = (250, 249, 246)
WHITE: Color = (255, 255, 255)
MAX_LINES = 3
LABEL_GAP = 4
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Label:
    """Lines of text on a plate, which is a rectangle in pixels."""

    lines: tuple[str, ...]
    font: Font
    plate: Rectangle


def draw_layout(
    layout: Layout,
    width: int,
    height: int,
    background: Image.Image | None = None,
    scale: float = 1.0,
    colors: Sequence[Color] | None = None,
) -> Image.Image:
    """Draw the boxes of a layout with their prompts.

    Args:
        layout: What to draw.
        width: Width of the picture that the layout is meant for, in pixels.
        height: Its height.
        background: A picture to draw upon, of any size; None draws on plain paper.
        scale: Size of lines and letters, relative; more than 1 where the drawing will be shrunk.
        colors: RGB colour of each instance, 0 to 255; None gives each one its own.
    Returns:
        An RGB picture with the same proportions. Its longer side is 512 to 2048 pixels, so that
        the prompts can be read: small sizes are enlarged, large ones reduced, and reduced further
        where hundreds of boxes cover all of it.
    """
    covered = sum(instance.box.area for instance in layout.instances)
    size = _canvas_size(width, height, covered)
    canvas = Image.new("RGB", size, PAPER)
    if background is not None:
        canvas.paste(background.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    painted = covered * _area(size) * SUPERSAMPLING**2
    times = SUPERSAMPLING if painted < 1.1 * MOST_PAINTED else 1  # a tenth for rounded sizes
    canvas = canvas.resize((times * size[0], times * size[1]))
    unit = scale * max(canvas.size) / SMALLEST_SIDE
    rectangles = [_to_pixels(instance.box.xyxy, canvas.size) for instance in layout.instances]
    palette = colors or [instance_color(index) for index in range(len(rectangles))]
    # Large boxes first, so that small ones stay visible.
    order = sorted(range(len(rectangles)), key=lambda index: -layout.instances[index].box.area)
    for index in order:
        _draw_box(canvas, rectangles[index], palette[index], unit)
    for index, label in _place_labels(layout, rectangles, canvas.size, unit).items():
        _draw_label(canvas, label, _darker(palette[index]), unit)
    return canvas.resize(size, Image.Resampling.BOX)


def _canvas_size(width: int, height: int, covered: float) -> tuple[int, int]:
    """Width and height of the drawing; ``covered`` counts how often boxes cover all of it."""
    longer = max(width, height)
    factor = min(max(longer, SMALLEST_SIDE), LARGEST_SIDE) / longer
    painted = covered * _area((width, height)) * (factor * SUPERSAMPLING) ** 2
    if painted > MOST_PAINTED:
        factor = max(factor * (MOST_PAINTED / painted) ** 0.5, SMALLEST_SIDE / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _to_pixels(box: Rectangle, size: tuple[int, int]) -> Rectangle:
    width, height = size
    left, top = min(box[0] * width, width - 2), min(box[1] * height, height - 2)
    # A box thinner than a pixel is still shown.
    return left, top, max(box[2] * width - 1, left + 1), max(box[3] * height - 1, top + 1)


def _draw_box(canvas: Image.Image, box: Rectangle, color: Color, unit: float) -> None:
    left, top, right, bottom = (round(side) for side in box)
    shape = Image.new("L", (right + 1 - left, bottom + 1 - top), 0)
    extent = min(shape.size)
    ImageDraw.Draw(shape).rounded_rectangle(
        (0, 0, shape.width - 1, shape.height - 1),
        radius=min(5 * unit, extent / 4),
        fill=38,
        outline=255,
        width=max(1, round(min(2.5 * unit, extent / 4))),
    )
    canvas.paste(color, (left, top), shape)


def _draw_label(canvas: Image.Image, label: _Label, color: Color, unit: float) -> None:
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle(label.plate, radius=4 * unit, fill=color)
    padding_x, padding_y, line_height = _metrics(unit)
    for index, line in enumerate(label.lines):
        middle = label.plate[1] + padding_y + (index + 0.5) * line_height
        start = (label.plate[0] + padding_x, middle)
        draw.text(start, line, fill=WHITE, font=label.font, anchor="lm")


def _metrics(unit: float) -> tuple[float, float, float]:
    """Padding beside and above the text, and the height of a line, in pixels."""
    return 6 * unit, 3 * unit, 17 * unit


def _place_labels(
    layout: Layout, rectangles: Sequence[Rectangle], size: tuple[int, int], unit: float
) -> dict[int, _Label]:
    """Labels by instance, each inside the picture, and off the others where there is room."""
    lettering = Lettering(round(14 * unit))
    padding_x, padding_y, line_height = _metrics(unit)
    labels: dict[int, _Label] = {}
    for index, (instance, box) in enumerate(zip(layout.instances, rectangles, strict=True)):
        text, font = lettering.readable(instance.prompt[:MOST_LETTERS], otherwise=f"#{index}")
        inner = box[2] - box[0] - 2 * LABEL_GAP * unit
        # A label stays inside its box if the box is not too narrow for words.
        room = (inner if inner > 0.2 * size[0] else 0.35 * size[0]) - 2 * padding_x
        lines = wrap(text, font, room, MAX_LINES)
        plate_width = max((font.getlength(line) for line in lines), default=0) + 2 * padding_x
        plate_height = len(lines) * line_height + 2 * padding_y
        if not lines or plate_width > size[0] or plate_height > size[1]:
            continue
        taken = np.array([label.plate for label in labels.values()]).reshape(-1, 4)
        plate = _free_place(box, (plate_width, plate_height), size, taken, unit)
        labels[index] = _Label(lines, font, plate)
    return labels


def _free_place(
    box: Rectangle,
    plate: tuple[float, float],
    size: tuple[int, int],
    taken: NDArray[np.float64],
    unit: float,
) -> Rectangle:
    """Where the plate covers the least of the others: inside the box's corners, then around it."""
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
        covered += 0.0 if inside else 0.5 * _overlap(place, np.array([box]))
        if covered < least:
            best, least = place, covered
    return best


def _overlap(place: Rectangle, others: NDArray[np.float64]) -> float:
    """Pixels of ``place`` that the other rectangles, shape (count, 4), cover, added up."""
    width = np.minimum(place[2], others[:, 2]) - np.maximum(place[0], others[:, 0])
    height = np.minimum(place[3], others[:, 3]) - np.maximum(place[1], others[:, 1])
    return float((np.maximum(width, 0) * np.maximum(height, 0)).sum())


def _darker(color: Color) -> Color:
    """Dark enough for white letters."""
    red, green, blue = color
    return round(red * 0.62), round(green * 0.62), round(blue * 0.62)
