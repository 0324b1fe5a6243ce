"""DepthMap: how near every pixel of a scene is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, PngImagePlugin

from threedis_core.errors import DepthError
from threedis_core.files.atomic import write_atomically
from threedis_core.files.depth_files import read_array, read_picture
from threedis_core.files.limits import MAX_PIXELS, MAX_SIDE

LEVELS = 65535
"""The greatest number of a 16-bit picture."""


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
        if not np.isfinite(values).all():
            raise DepthError("depth has NaN or infinite values; expected finite values in [0, 1]")
        if values.min() < 0 or values.max() > 1:
            raise DepthError(
                f"depth has values from {values.min():g} to {values.max():g}; expected [0, 1] with "
                "1 nearest: scale them yourself or with DepthMap.normalise(values)"
            )
        values.setflags(write=False)
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
        array = np.asarray(values, dtype=np.float64)
        if array.size == 0 or not np.isfinite(array).all():
            raise DepthError("depth has no values, or NaN or infinite ones; expected finite values")
        low, high = float(array.min()), float(array.max())
        # Halves, so that the span of two extreme float64 values cannot overflow.
        span = high / 2 - low / 2
        scaled = (array / 2 - low / 2) / span if span > 0 else np.zeros_like(array)
        return cls(np.clip(1 - scaled if invert and span > 0 else scaled, 0, 1).astype(np.float32))

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
        try:
            return cls(values)
        except DepthError as error:
            raise DepthError(f"{path}: {error}") from None

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
            raise DepthError(f"{path}: depth maps are saved as .png; name the file *.png")
        texts = PngImagePlugin.PngInfo()
        for keyword, text in (metadata or {}).items():
            texts.add_itxt(keyword, text)
        buffer = io.BytesIO()
        Image.fromarray(_levels(self.values)).save(buffer, format="PNG", pnginfo=texts)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise DepthError(f"{path}: cannot be written: {error.strerror}") from error

    def rounded(self) -> DepthMap:
        """The map as ``save`` keeps it: every value a multiple of 1/65535."""
        return DepthMap(_levels(self.values).astype(np.float32) / np.float32(LEVELS))

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
            raise DepthError(f"{path}: cannot be read as a picture: {error}") from error
        return str(text) if isinstance(text, str) else None

    def resize(self, width: int, height: int) -> DepthMap:
        """Resample to another size, bilinear, averaging when it shrinks.

        Raises:
            DepthError: A size that is out of range.
        """
        if (width, height) == (self.width, self.height):
            return self
        _check_size(height, width)
        picture = Image.fromarray(self.values).resize((width, height), Image.Resampling.BILINEAR)
        return DepthMap(np.clip(np.asarray(picture), 0, 1))

    def to_image(self) -> Image.Image:
        """An 8-bit RGB picture, near is bright: what a depth ControlNet takes."""
        return Image.fromarray(np.rint(self.values * 255).astype(np.uint8)).convert("RGB")

    def checksum(self) -> str:
        """SHA-256 of the size and the values, as hexadecimal digits."""
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256(f"{self.height}x{self.width}:".encode())
        digest.update(self.values.astype("<f4").tobytes())
        return digest.hexdigest()


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(values.astype(np.float64) * LEVELS).astype(np.uint16)


def _as_float32(values: ArrayLike) -> NDArray[np.float32]:
    try:
        array = np.array(values, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise DepthError(f"depth is no array of numbers: {error}") from error
    if array.ndim != 2:
        raise DepthError(f"depth has shape {array.shape}; expected (height, width)")
    _check_size(*array.shape)
    return array


def _check_size(height: int, width: int) -> None:
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE) or height * width > MAX_PIXELS:
        raise DepthError(
            f"depth of {width}x{height} pixels; expected 1 to {MAX_SIDE} pixels a side "
            f"and at most {MAX_PIXELS} in all"
        )
