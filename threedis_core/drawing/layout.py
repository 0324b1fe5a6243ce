"""Draw a layout: its boxes and masks, and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from threedis_core.drawing.labels import Rectangle, draw_label, place_labels
from threedis_core.drawing.masks import draw_mask, mask_shape
from threedis_core.drawing.page import PAPER
from threedis_core.values.layout import Layout
from threedis_core.values.palette import Color, instance_color

SMALLEST_SIDE = 512
LARGEST_SIDE = 2048
LINE, THIN = 2.5, 1.2  # the lines of boxes and masks, and of boxes around masks
# Shapes are drawn this many times larger and then averaged, because Pillow draws hard edges.
SUPERSAMPLING = 2
MOST_PAINTED = 2**29
"""Pixels that all boxes cover together, as large as they are drawn: some seconds of painting."""
MASK_COST = 8
"""Painting a mask takes so many times as long as painting a box of its size."""


def draw_layout(
    layout: Layout,
    width: int,
    height: int,
    background: Image.Image | None = None,
    scale: float = 1.0,
    colors: Sequence[Color] | None = None,
    numbered: bool = False,
) -> Image.Image:
    """Draw the boxes of a layout with their prompts, and the masks where instances have them.

    Args:
        layout: What to draw.
        width: Width of the picture that the layout is meant for, in pixels.
        height: Its height.
        background: A picture to draw upon, of any size; None draws on plain paper.
        scale: Size of lines and letters, relative; more than 1 where the drawing will be shrunk.
        colors: RGB colour of each instance, 0 to 255; None gives each one its own.
        numbered: Write each instance's number in the layout instead of its prompt.
    Returns:
        An RGB picture with the same proportions. Its longer side is 512 to 2048 pixels, so that
        the prompts can be read: small sizes are enlarged, large ones reduced, and reduced further
        where hundreds of boxes cover all of it.
    """
    palette = colors or [instance_color(index) for index in range(len(layout.instances))]
    areas = [instance.box.area for instance in layout.instances]
    masks = [mask_shape(instance) for instance in layout.instances]
    covered = sum(areas) + MASK_COST * sum(mask.area for mask in masks if mask is not None)
    size = _canvas_size(width, height, covered)
    canvas = Image.new("RGB", size, PAPER)
    if background is not None:
        canvas.paste(background.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    painted = covered * _area(size) * SUPERSAMPLING**2
    times = SUPERSAMPLING if painted < 1.1 * MOST_PAINTED else 1  # a tenth for rounded sizes
    canvas = canvas.resize((times * size[0], times * size[1]))
    unit = scale * max(canvas.size) / SMALLEST_SIDE
    rectangles = [_to_pixels(instance.box.xyxy, canvas.size) for instance in layout.instances]
    # Large boxes first, so that small ones stay visible.
    order = sorted(range(len(rectangles)), key=lambda index: -areas[index])
    for index in order:
        mask = masks[index]
        _draw_box(canvas, rectangles[index], palette[index], unit, filled=mask is None)
        if mask is not None:
            draw_mask(canvas, mask, palette[index], LINE * unit)
    for index, label in place_labels(layout, rectangles, canvas.size, unit, numbered).items():
        draw_label(canvas, label, palette[index], unit)
    return canvas.resize(size, Image.Resampling.BOX)


def has_room_for_prompts(layout: Layout, width: int, height: int, scale: float = 1.0) -> bool:
    """Whether ``draw_layout`` can write every prompt in full, and none upon another.

    Args:
        layout: What is to be drawn.
        width: Width of the picture that the layout is meant for, in pixels.
        height: Its height.
        scale: Size of letters, relative.
    """
    size = _canvas_size(width, height, 0)
    rectangles = [_to_pixels(instance.box.xyxy, size) for instance in layout.instances]
    labels = place_labels(layout, rectangles, size, scale * max(size) / SMALLEST_SIDE)
    return len(labels) == len(rectangles) and all(label.whole for label in labels.values())


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


def _draw_box(canvas: Image.Image, box: Rectangle, color: Color, unit: float, filled: bool) -> None:
    left, top, right, bottom = (round(side) for side in box)
    shape = Image.new("L", (right + 1 - left, bottom + 1 - top), 0)
    extent = min(shape.size)
    ImageDraw.Draw(shape).rounded_rectangle(
        (0, 0, shape.width - 1, shape.height - 1),
        radius=min(5 * unit, extent / 4),
        fill=38 if filled else 0,
        outline=255 if filled else 170,
        width=max(1, round(min((LINE if filled else THIN) * unit, extent / 4))),
    )
    canvas.paste(color, (left, top), shape)
