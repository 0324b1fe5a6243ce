"""What happens to pictures before an estimator is loaded: checks, and 8 bits a channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from threedis_core.errors import InputError, retold

LONGEST = 16
"""How many times longer than the other one side of a picture may be."""


def to_rgb(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures as the models take them: RGB with 8 bits a channel.

    Args:
        pictures: In any mode. Grey ones may have 16 bits, or be floats in [0, 1].
    Raises:
        InputError: One is hardly more than a line, so that it shrinks to nothing at the size a
            model works at, or has values outside its range.
    """
    made: list[Image.Image] = []
    for index, picture in enumerate(pictures):
        try:
            _check_shape(picture)
            made.append(_to_8_bits(picture).convert("RGB"))
        except InputError as error:
            raise retold(
                error, InputError, f"pictures[{index}]: {error}", path=f"pictures[{index}]"
            ) from None
    return made


def _check_shape(picture: Image.Image) -> None:
    if max(picture.size) > LONGEST * min(picture.size):
        raise InputError(
            f"{picture.width}x{picture.height} pixels; expected one side at most {LONGEST} times "
            "as long as the other: cut the picture"
        )


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel; Pillow itself would clip deeper ones at 255."""
    if picture.mode == "F":
        greatest, expected = 1, "floats from 0 to 1"
    elif picture.mode.startswith("I"):
        greatest, expected = 65535, "whole numbers of 16 bits, from 0 to 65535"
    else:
        return picture
    values = np.asarray(picture)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= greatest):  # so that NaN is refused too
        raise InputError(
            f"a picture of mode '{picture.mode}' with values from {low:g} to {high:g}; expected "
            f"{expected}: scale it, or save it with 8 bits"
        )
    return Image.fromarray(np.rint(values * (255 / greatest)).astype(np.uint8))
