"""The colours that a prompt can be held to: those that a hue tells, whatever the light.

K = number of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from threedis_core.metrics.colours import Pixels, to_hsv
from threedis_core.values.nouns import ENDS, colours_of, is_shade

HUES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "red": (172, 6),
        "orange": (6, 20),
        "yellow": (20, 34),
        "green": (34, 82),
        "cyan": (82, 102),
        "blue": (102, 129),
        "purple": (129, 156),
        "pink": (156, 172),
    }
)
"""From which hue on (0 to 180, as in OpenCV) and below which a pixel has a colour. They share the
circle among them, so that a place cannot be of two colours."""
SAME = MappingProxyType({"turquoise": "cyan", "violet": "purple", "scarlet": "red"})
LEAST_SATURATION = 50
LEAST_VALUE = 35
"""Of 255: what is paler or darker has a hue that light and noise decide."""


def asked_hue(prompt: str) -> str | None:
    """The colour of HUES that ``prompt`` gives to its noun; None: none, or no single one.

    "a red cube" is red. "a man in a red shirt", "a red and blue ball", "a pale pink rose", "a white
    cat" and "an orange" (a thing) are not judged.
    """
    words = re.findall(r"[\w-]+", prompt.lower())
    ends = next((place for place, word in enumerate(words) if word in ENDS), len(words))
    own = words[:ends]
    if any(map(is_shade, own)):
        return None
    colours = colours_of(" ".join(own))
    return _hue(colours[0]) if len(colours) == 1 else None


def hue_shares(pixels: Pixels) -> dict[str, float]:
    """Which share of RGB pixels, shape (K, 3), has each colour of HUES."""
    hue, saturation, value = to_hsv(pixels)
    coloured = (saturation >= LEAST_SATURATION) & (value >= LEAST_VALUE)
    return {name: float(np.mean(coloured & _between(hue, *ends))) for name, ends in HUES.items()}


def _hue(word: str) -> str | None:
    name = SAME.get(word, word)
    return name if name in HUES else None


def _between(hue: NDArray[np.int32], low: int, high: int) -> NDArray[np.bool_]:
    if low < high:
        return (hue >= low) & (hue < high)
    return (hue >= low) | (hue < high)
