"""The largest inputs that are read; beyond them a clear error comes before any work."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path

from threedis_core.errors import InputError

MAX_SIDE = 16384
"""Pixels along one side of a picture, mask, depth map or layout."""

MAX_PIXELS = 2**26
"""Pixels of one picture, mask or depth map: 8192 x 8192."""

MAX_INSTANCES = 1000
"""Instances in one layout."""

MAX_MASK_PIXELS = 2**29
"""Pixels of all masks of one layout together: 8 of 8192 x 8192, or 512 of 1024 x 1024."""

MAX_RUNS = 2**22
"""Runs in one mask's code: how often the pixel changes, down the columns."""

MAX_MASK_LETTERS = 12 * 2**20
"""Letters in the codes of all masks of one layout: a layout file that holds them can be read."""

MAX_REGION_NUMBERS = 2**28
"""Numbers in one array of all regions (N, H, W)."""

MAX_POLYGON_ROWS = 2**25
"""Rows that the sides of the polygons of one picture cross, all sides together."""

MAX_TEXT = 10_000
"""Characters in one prompt or label."""

MAX_DOCUMENT_BYTES = 16 * 2**20
"""Size of a layout or configuration file."""

MAX_DATASET_BYTES = 2**30
"""Size of a data set's annotation file."""

MAX_DOCUMENT_VALUES = 200_000
"""Values (texts, numbers, lists, mappings) in one layout or configuration file."""

MAX_DOCUMENT_DEPTH = 32
"""Levels of lists and mappings inside each other in one layout or configuration file."""

MAX_NUMBER_LETTERS = 1000
"""Letters of one number: nobody means more, and reading them takes their square in time."""


def check_size(
    width: int, height: int, error: type[InputError], what: str, file: str | Path = ""
) -> None:
    """Refuse a picture, mask or depth map of a size that nobody should ask a machine for.

    Args:
        width: Pixels.
        height: Pixels.
        error: The error class to raise.
        what: What has this size, to start the message with: "a mask of".
        file: The file that has it, if it is one.
    Raises:
        InputError: As ``error``: no whole number of pixels, none, more than 16384 along a side, or
            more than 2**26 in all.
    """
    for side in (width, height):
        if not isinstance(side, Integral):
            raise error(
                f"{what} {width}x{height} pixels; expected whole numbers", code="wrong-value"
            )
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise error(
            f"{what} {width}x{height} pixels; expected 1 to {MAX_SIDE} pixels a side and at most "
            f"{MAX_PIXELS} in all, such as 8192x8192",
            code="file-too-large" if file else "wrong-value",
            file=file,
        )
