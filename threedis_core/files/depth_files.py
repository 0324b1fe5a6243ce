"""Read depth values from the files people have: grey pictures and .npy arrays."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.alone import warnings_ignored
from threedis_core.errors import DepthError
from threedis_core.files.limits import MAX_PIXELS
from threedis_core.files.pictures import check_file, is_transparent, open_picture
from threedis_core.files.printable import printable

# A JPEG's or a scanner's grey has small differences between its channels, which cancel out where a
# block of pixels is averaged; a colour map has large ones everywhere, a photo at least somewhere.
BLOCKS = 64
"""Blocks along the longer side that a picture's colours are averaged in."""
GREY_TOLERANCE = 8.0
"""Most that the channels of all blocks may differ on average, of 255."""
COLOURED = 24
"""A block whose channels differ by more has a colour."""
COLOURED_SHARE = 0.005
"""Most of the blocks that may have one."""
MOST_BYTES = 8
"""Of one float: wider ones take more memory than a depth map is worth."""


def read_picture(path: Path) -> NDArray[np.float32]:
    """Read a grey picture: 16-bit divided by 65535, 8-bit by 255, float as it is.

    Returns:
        Shape (height, width), float32; in [0, 1] unless the picture holds floats.
    Raises:
        DepthError: No readable picture, or a coloured or transparent one.
    """
    picture = open_picture(path, DepthError, "a depth map")
    if picture.mode == "F":
        return np.asarray(picture, dtype=np.float32)
    if picture.mode.startswith("I"):
        return _divided(np.asarray(picture), 65535)
    try:
        if is_transparent(picture):
            raise DepthError(
                f"{printable(path)}: has transparency; expected an opaque grey one", file=path
            )
        if picture.mode not in ("1", "L"):
            _check_grey(picture, path)
        return _divided(np.asarray(picture.convert("L")), 255)
    except DepthError:
        raise
    except ValueError as reason:  # Pillow turns not every kind of picture into grey
        raise DepthError(
            f"{printable(path)}: a picture of mode {picture.mode}; expected a grey one",
            code="coloured-depth",
            file=path,
        ) from reason


def read_array(path: Path) -> NDArray[np.float32]:
    """Read a .npy array: uint8 divided by 255, uint16 by 65535, bool and float as they are.

    Returns:
        float32, without axes of length 1 around (height, width).
    Raises:
        DepthError: No readable array of such numbers, or more than 2**26 of them.
    """
    check_file(path, DepthError)
    name = printable(path)
    try:
        with warnings_ignored():  # of a header whose numbers overflow: it is refused below
            loaded: object = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as reason:  # numpy's header reader raises almost anything on a damaged file
        raise DepthError(
            f"{name}: no readable .npy array: {printable(str(reason), 100)}",
            code="file-unreadable",
            file=path,
        ) from reason
    if not isinstance(loaded, np.ndarray):
        raise DepthError(
            f"{name}: an archive of several arrays; expected one .npy array",
            code="file-unreadable",
            file=path,
        )
    array = cast("NDArray[Any]", loaded)
    if array.size > MAX_PIXELS:
        raise DepthError(
            f"{name}: {array.size} values; expected at most {MAX_PIXELS}",
            code="file-too-large",
            file=path,
        )
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return _divided(array, np.iinfo(array.dtype).max)
    if array.dtype.kind not in "bf" or array.dtype.itemsize > MOST_BYTES:
        raise DepthError(
            f"{name}: values of type {printable(str(array.dtype), 60)}; expected uint8, uint16, "
            "bool or float in [0, 1]",
            file=path,
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        return array.astype(np.float32)


def _divided(levels: NDArray[Any], greatest: int) -> NDArray[np.float32]:
    values = levels.astype(np.float32)
    values /= np.float32(greatest)
    return values


def _check_grey(picture: Image.Image, path: Path) -> None:
    if not _is_coloured(picture if picture.mode == "RGB" else picture.convert("RGB")):
        return
    name = printable(path)
    command = f"threedis depth estimate {quote(name)}"
    raise DepthError(
        f"{name}: a coloured picture; expected a grey one, where white is near. If it is a photo, "
        f"make its depth map with: {command}; if it is depth, save it without a colour map",
        code="coloured-depth",
        file=path,
        hint=f"make a depth map of the photo with: {command}",
    )


def _is_coloured(picture: Image.Image) -> bool:
    """True if an RGB picture has colours, all over or in some place, that no noise explains."""
    small = np.asarray(picture.reduce(max(1, max(picture.size) // BLOCKS)))
    spread = small.max(axis=2) - small.min(axis=2)
    share = float((spread > COLOURED).mean())
    return float(spread.mean()) > GREY_TOLERANCE or share > COLOURED_SHARE
