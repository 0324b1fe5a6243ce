"""How a box is rounded to a grid: to pixels for U-Nets, to tokens for joint attention."""

from __future__ import annotations

import math

from threedis_core.values.box import Box

Part = tuple[slice, slice]
"""Rows and columns of a rectangle."""


def box_pixels(box: Box, height: int, width: int) -> Part:
    """The pixels of a box, for the U-Net family: its corners are truncated.

    Rows int(y0 * height) to int(y1 * height), columns likewise, so that a box below one pixel may
    have none.

    Source:
        3DIS (arXiv 2410.12669), published code.
    """
    return (
        slice(int(box.y0 * height), int(box.y1 * height)),
        slice(int(box.x0 * width), int(box.x1 * width)),
    )


def box_tokens(box: Box, rows: int, columns: int) -> Part:
    """The tokens of a box, for the joint-attention family: every one that it touches.

    Rows floor(y0 * rows) to ceil(y1 * rows), columns likewise: at least one token.

    Source:
        3DIS-FLUX (arXiv 2501.05131).
    """
    return (
        slice(math.floor(box.y0 * rows), math.ceil(box.y1 * rows)),
        slice(math.floor(box.x0 * columns), math.ceil(box.x1 * columns)),
    )
