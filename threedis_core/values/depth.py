"""DepthMap: how near every pixel of a scene is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, PngImagePlugin

from threedis_core.errors import DepthError, retold
from threedis_core.files.atomic import write_atomically
from threedis_core.files.depth_files import read_array, read_picture
from threedis_core.files.limits import check_size
from threedis_core.files.printable import printable
from threedis_core.values.frozen import frozen

LEVELS = 65535
"""The greatest number of a 16-bit picture."""
ROWS_AT_ONCE = 256
"""Rows that are worked on in float64 at once: of a whole map they would take gigabytes."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """A scene's depth, relative: 0 is farthest, 1 is nearest.

    Args:
        values: Shape (height, width), finite, in [0, 1]; kept as a read-only float32 copy.
    Raises:
        DepthError: Another shape, more than 16384 pixels a side, or values outside [0, 1].
    """

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        values = _as_float32(self.values)
        least, greatest = float(values.min()), float(values.max())
        if not (np.isfinite(least) and np.isfinite(greatest)):  # both are NaN if any value is
            raise DepthError("depth has NaN or infinite values; expected finite values in [0, 1]")
        if least < 0 or greatest > 1:
            hint = "scale them yourself or with DepthMap.normalise(values)"
            raise DepthError(
                f"depth has values from {least:g} to {greatest:g}; expected [0, 1] with "
                f"1 nearest: {hint}",
                hint=hint,
            )
        object.__setattr__(self, "values", values)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.values.shape[1]

    @classmethod
    def normalise(cls, values: ArrayLike, invert: bool = False) -> DepthMap:
        """Stretch any finite depth to [0, 1]: its least value to 0, its greatest to 1.

        Args:
            values: Shape (height, width), larger is nearer; all equal gives 0 everywhere.
            invert: True if larger is farther, as for metric depth.
        Raises:
            DepthError: A wrong shape or values that are not finite.
        """
        array = _as_numbers(values)
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DepthError("depth has NaN or infinite values; expected finite values")
        # Halves, so that the span of two extreme float64 values cannot overflow.
        span = high / 2 - low / 2
        result = np.zeros(array.shape, dtype=np.float32)
        for rows in _row_blocks(array) if span > 0 else ():
            scaled = (array[rows].astype(np.float64) / 2 - low / 2) / span
            result[rows] = np.clip(1 - scaled if invert else scaled, 0, 1)
        result.setflags(write=False)
        return cls(result)

    @classmethod
    def load(cls, path: str | Path) -> DepthMap:
        """Read a depth map from a grey picture or a .npy file.

        16-bit pictures are divided by 65535, 8-bit ones by 255; so are whole-number .npy arrays.
        Float arrays must already lie in [0, 1].

        Raises:
            DepthError: The file cannot be read as a depth map; the message names it.
        """
        path = Path(path)
        values = read_array(path) if path.suffix.lower() == ".npy" else read_picture(path)
        values.setflags(write=False)
        try:
            return cls(values)
        except DepthError as error:
            raise retold(error, DepthError, f"{printable(path)}: {error}", file=path) from None

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write a 16-bit grey PNG, exact to 1/65535, complete or not at all.

        Args:
            path: A name that ends in .png.
            metadata: Texts to store in the file, by keyword (1 to 79 Latin-1 letters).
        Raises:
            DepthError: Another suffix, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise DepthError(
                f"{printable(path)}: depth maps are saved as .png; name the file *.png",
                code="file-not-written",
                file=path,
                hint="name the file *.png",
            )
        try:
            write_atomically(path, self.to_png(metadata))
        except OSError as error:
            raise DepthError(
                f"{printable(path)}: cannot be written: {error.strerror}",
                code="file-not-written",
                file=path,
            ) from error

    def to_png(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """The content of the file that ``save`` writes."""
        texts = PngImagePlugin.PngInfo()
        for keyword, text in (metadata or {}).items():
            texts.add_itxt(keyword, text)
        buffer = io.BytesIO()
        Image.fromarray(_levels(self.values)).save(buffer, format="PNG", pnginfo=texts)
        return buffer.getvalue()

    @classmethod
    def from_png(cls, content: bytes) -> DepthMap:
        """The map of a file that ``save`` has written, from its content.

        Raises:
            DepthError: It is no 16-bit grey PNG.
        """
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                levels = np.asarray(picture)
        except Exception as error:  # Pillow's reader raises almost anything on damaged data
            raise DepthError(f"no readable PNG: {printable(str(error), 100)}") from error
        if levels.ndim != 2:
            raise DepthError(f"a picture of shape {levels.shape}; expected a 16-bit grey one")
        values = levels.astype(np.float32)
        values /= np.float32(LEVELS)
        values.setflags(write=False)
        return cls(values)

    def rounded(self) -> DepthMap:
        """The map as ``save`` keeps it: every value a multiple of 1/65535."""
        values = _levels(self.values).astype(np.float32)
        values /= np.float32(LEVELS)
        values.setflags(write=False)
        return DepthMap(values)

    @staticmethod
    def stored_text(path: str | Path, keyword: str) -> str | None:
        """The text that ``save`` stored under ``keyword`` in ``metadata``; None if there is none.

        Raises:
            DepthError: The file cannot be read as a picture.
        """
        try:
            with Image.open(path) as picture:
                text = picture.info.get(keyword)
        except OSError as error:
            raise DepthError(
                f"{printable(path)}: cannot be read as a picture: {printable(str(error))}",
                code="file-unreadable",
                file=path,
            ) from error
        return str(text) if isinstance(text, str) else None

    def resize(self, width: int, height: int) -> DepthMap:
        """Resample to another size, bilinear, averaging when it shrinks.

        Raises:
            DepthError: A size that is out of range.
        """
        if (width, height) == (self.width, self.height):
            return self
        check_size(width, height, DepthError, "depth of")
        picture = Image.fromarray(self.values).resize((width, height), Image.Resampling.BILINEAR)
        values = np.clip(np.asarray(picture), 0, 1)
        values.setflags(write=False)
        return DepthMap(values)

    def to_image(self) -> Image.Image:
        """An 8-bit RGB picture, near is bright: what a depth ControlNet takes."""
        levels = np.empty(self.values.shape, dtype=np.uint8)
        for rows in _row_blocks(self.values):
            levels[rows] = np.rint(self.values[rows] * 255)
        return Image.fromarray(levels).convert("RGB")

    def checksum(self) -> str:
        """SHA-256 of the size and the values, as hexadecimal digits."""
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256(f"{self.height}x{self.width}:".encode())
        digest.update(np.ascontiguousarray(self.values, dtype="<f4").data)
        return digest.hexdigest()


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    levels = np.empty(values.shape, dtype=np.uint16)
    for rows in _row_blocks(values):
        levels[rows] = np.rint(values[rows].astype(np.float64) * LEVELS)
    return levels


def _row_blocks(values: NDArray[Any]) -> Iterator[slice]:
    for start in range(0, values.shape[0], ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)


def _as_numbers(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        array = array.astype(np.float64)
    _check_shape(array)
    return array


def _as_float32(values: ArrayLike) -> NDArray[np.float32]:
    try:
        array = frozen(values, np.float32)
    except (TypeError, ValueError) as error:
        raise DepthError(f"depth is no array of numbers: {printable(str(error))}") from error
    _check_shape(array)
    return array


def _check_shape(array: NDArray[Any]) -> None:
    if array.ndim != 2:
        raise DepthError(f"depth has shape {array.shape}; expected (height, width)")
    check_size(array.shape[1], array.shape[0], DepthError, "depth of")
