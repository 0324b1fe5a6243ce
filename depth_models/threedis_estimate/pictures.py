"""The checks that pictures pass before an estimator is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from threedis_core.errors import InputError

LONGEST = 16
"""How many times longer than the other one side of a picture may be."""


def check_shapes(pictures: Sequence[Image.Image]) -> None:
    """Refuse pictures that shrink to nothing at the size a model works at.

    Raises:
        InputError: One is hardly more than a line.
    """
    for index, picture in enumerate(pictures):
        if max(picture.size) > LONGEST * min(picture.size):
            raise InputError(
                f"pictures[{index}] is {picture.width}x{picture.height} pixels; expected one side "
                f"at most {LONGEST} times as long as the other: cut the picture"
            )
