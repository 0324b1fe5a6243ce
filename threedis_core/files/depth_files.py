"""Read depth values from the files people have: grey pictures and .npy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.errors import DepthError
from threedis_core.files.limits import MAX_PIXELS
from threedis_core.files.pictures import check_file, is_transparent, open_picture

# A JPEG's grey has small differences between its channels; a colour map has large ones.
GREY_TOLERANCE = 8.0


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
        return np.asarray(picture).astype(np.float32) / np.float32(65535)
    if is_transparent(picture):
        raise DepthError(f"{path}: has transparency; expected an opaque grey picture")
    if picture.mode not in ("1", "L"):
        _check_grey(picture, path)
    return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def read_array(path: Path) -> NDArray[np.float32]:
    """Read a .npy array: uint8 divided by 255, uint16 by 65535, bool and float as they are.

    Returns:
        float32, without axes of length 1 around (height, width).
    Raises:
        DepthError: No readable array of such numbers, or more than 2**26 of them.
    """
    check_file(path, DepthError)
    try:
        loaded: object = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as reason:  # numpy's header reader raises almost anything on a damaged file
        raise DepthError(f"{path}: no readable .npy array: {reason!s:.100}") from reason
    if not isinstance(loaded, np.ndarray):
        raise DepthError(f"{path}: an archive of several arrays; expected one .npy array")
    array = cast("NDArray[Any]", loaded)
    if array.size > MAX_PIXELS:
        raise DepthError(f"{path}: {array.size} values; expected at most {MAX_PIXELS}")
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype.kind not in "bf":
        raise DepthError(
            f"{path}: values of type {array.dtype}; expected uint8, uint16, bool or float in [0, 1]"
        )
    return array.astype(np.float32)


def _check_grey(picture: Image.Image, path: Path) -> None:
    channels = np.asarray(picture.convert("RGB"), dtype=np.int16)
    spread = float((channels.max(axis=2) - channels.min(axis=2)).mean())
    if spread > GREY_TOLERANCE:
        raise DepthError(
            f"{path}: a coloured picture (its channels differ by {spread:.0f} on average); "
            "expected grey, where white is near: save the depth itself, without a colour map"
        )
