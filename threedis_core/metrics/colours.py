"""COCO-MIG's colours: ranges of hue, saturation and value in OpenCV's 8-bit HSV.

K = number of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from threedis_core.values.problems import shown

Pixels = NDArray[np.uint8]
Levels = NDArray[np.int32]
Range = tuple[int, int, int, int, int, int]
"""Least and greatest hue, saturation and value, all of them included."""

RANGES: Mapping[str, tuple[Range, ...]] = MappingProxyType(
    {
        "red": ((0, 9, 50, 255, 70, 255), (159, 180, 50, 255, 70, 255)),
        "blue": ((90, 128, 50, 255, 70, 255),),
        "green": ((36, 89, 50, 255, 70, 255),),
        "yellow": ((25, 35, 50, 255, 70, 255),),
        "black": ((0, 180, 0, 255, 0, 30),),
        "white": ((0, 180, 0, 43, 221, 255),),
        "brown": ((6, 25, 43, 255, 35, 255),),
    }
)
"""What counts as each colour; yellow and brown share hue 25."""
_SHIFT = 12
_HALF = 1 << (_SHIFT - 1)


def _inverses(scale: float) -> Levels:
    """``scale`` / n in fixed point for n from 0 to 255; 0 for n = 0."""
    numbers = np.arange(256, dtype=np.float64)
    numbers[0] = np.inf
    return np.rint(scale * (1 << _SHIFT) / numbers).astype(np.int32)


_PER_VALUE = _inverses(255)
_PER_SPREAD = _inverses(180 / 6)


def to_hsv(pixels: Pixels) -> tuple[Levels, Levels, Levels]:
    """Hue (0 to 180), saturation and value (0 to 255) of RGB pixels.

    The whole numbers are the same as OpenCV's for every one of the 2**24 colours: it divides by
    tables in fixed point of 12 bits and rounds half up.

    Args:
        pixels: Shape (K, 3), RGB.
    Returns:
        Three arrays of shape (K,).
    """
    red, green, blue = pixels.astype(np.int32).T
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    saturation = (spread * _PER_VALUE[value] + _HALF) >> _SHIFT
    sixths: Levels = np.select(
        [value == red, value == green],
        [green - blue, blue - red + 2 * spread],
        red - green + 4 * spread,
    )
    hue: Levels = (sixths * _PER_SPREAD[spread] + _HALF) >> _SHIFT
    return hue + 180 * (hue < 0), saturation, value


def in_colour(pixels: Pixels, colour: str) -> NDArray[np.bool_]:
    """Which RGB pixels, shape (K, 3), are of a colour of ``RANGES``; shape (K,)."""
    return _in_ranges(to_hsv(pixels), colour)


def _in_ranges(hsv: tuple[Levels, Levels, Levels], colour: str) -> NDArray[np.bool_]:
    hue, saturation, value = hsv
    found = np.zeros(len(hue), dtype=np.bool_)
    for h0, h1, s0, s1, v0, v1 in RANGES[colour]:
        inside = (hue >= h0) & (hue <= h1) & (saturation >= s0) & (saturation <= s1)
        found |= inside & (value >= v0) & (value <= v1)
    return found


def colour_counts(pixels: Pixels) -> dict[str, int]:
    """How many RGB pixels, shape (K, 3), are of each colour; ``all`` is K."""
    hsv = to_hsv(pixels)
    counts = {colour: int(_in_ranges(hsv, colour).sum()) for colour in RANGES}
    return {**counts, "all": len(pixels)}


def named_colour(phrase: str) -> str:
    """The first word of ``phrase`` that names one of the seven colours.

    Raises:
        ValueError: None does.
    """
    for word in re.findall(r"[a-z]+", phrase.lower()):
        if word in RANGES:
            return word
    raise ValueError(f"{shown(phrase)} names none of COCO-MIG's colours: {', '.join(RANGES)}")
