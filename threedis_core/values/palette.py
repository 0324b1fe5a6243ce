"""The colours that instances are drawn in."""

from __future__ import annotations

import colorsys

Color = tuple[int, int, int]

# Calm, and far apart also for people who see red and green alike.
PALETTE: tuple[Color, ...] = (
    (76, 120, 168),
    (229, 134, 62),
    (84, 162, 120),
    (196, 78, 96),
    (142, 108, 178),
    (214, 178, 66),
    (72, 166, 180),
    (160, 112, 84),
    (208, 126, 174),
    (122, 140, 74),
)
GOLDEN_RATIO = 0.618034


def plate_color(color: Color) -> Color:
    """A colour as dark as white letters upon it need."""
    red, green, blue = (round(channel * 0.62) for channel in color)
    return red, green, blue


def instance_color(index: int) -> Color:
    """The colour of the instance at ``index``, each channel 0..255; never runs out."""
    if index < len(PALETTE):
        return PALETTE[index]
    # Steps of the golden ratio spread any number of hues evenly.
    red, green, blue = colorsys.hls_to_rgb(index * GOLDEN_RATIO % 1, 0.55, 0.4)
    return round(red * 255), round(green * 255), round(blue * 255)
