"""Binary masks as run-length codes, the way COCO stores them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_PIXELS, MAX_SIDE
from threedis_core.files.pictures import is_transparent, open_picture
from threedis_core.values.box import LayoutValue
from threedis_core.values.problems import shown

Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]


class Mask(LayoutValue):
    """A picture-sized binary mask, kept run-length coded; immutable and small.

    Args:
        size: (height, width) in pixels.
        counts: Run lengths of 0s and 1s in turn, starting with 0s, counted down the columns;
            a list of whole numbers or COCO's compressed text. Kept as the compressed text.
    """

    size: tuple[Side, Side] = Field(description=f"[height, width], each from 1 to {MAX_SIDE}")
    counts: str = Field(description="COCO run lengths: a list of whole numbers or text")

    @field_validator("counts", mode="before")
    @classmethod
    def _compress(cls, counts: Any) -> Any:
        return counts if isinstance(counts, str) else compress_runs(whole_numbers(counts))

    @model_validator(mode="after")
    def _check_runs(self) -> Mask:
        height, width = self.size
        runs = expand_runs(self.counts)
        if height * width > MAX_PIXELS:
            raise ValueError(f"{width}x{height} pixels; expected at most {MAX_PIXELS} pixels")
        if sum(runs) != height * width:
            raise ValueError(
                f"its run lengths sum to {sum(runs)}; expected height * width = {height * width}"
            )
        if sum(runs[1::2]) == 0:
            raise ValueError("it is empty; expected at least one set pixel")
        return self

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.size[0]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.size[1]

    @classmethod
    def encode(cls, pixels: ArrayLike) -> Mask:
        """Make a mask from an array of shape (height, width); nonzero is set.

        Raises:
            LayoutError: Another shape, no set pixel, or more than 2**26 pixels.
        """
        array = np.asarray(pixels)
        if array.ndim != 2:
            raise LayoutError(f"mask has shape {array.shape}; expected (height, width)")
        flat = (array != 0).ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        bounds = np.concatenate([[0], edges, [flat.size]])
        runs = [int(run) for run in np.diff(bounds)]
        counts = [0, *runs] if flat.size and flat[0] else runs
        return cls(size=(array.shape[0], array.shape[1]), counts=compress_runs(counts))

    @classmethod
    def load(cls, path: str | Path) -> Mask:
        """Read a mask from a PNG file; set are pixels of at least half the brightest value.

        Raises:
            LayoutError: No readable, opaque PNG, too large, or all black.
        """
        picture = open_picture(path, LayoutError, "a mask", formats=("PNG",))
        if is_transparent(picture):
            raise LayoutError(f"{path}: has transparency; expected a black-and-white picture")
        grey = picture if picture.mode in ("1", "L", "I", "I;16") else picture.convert("L")
        values = np.asarray(grey).astype(np.int64)
        if values.max() <= 0:
            raise LayoutError(f"{path}: all black; expected at least one white pixel")
        return cls.encode(values * 2 >= values.max())

    def decode(self) -> NDArray[np.bool_]:
        """The mask's pixels, shape (height, width)."""
        runs = expand_runs(self.counts)
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(self.width, self.height).T.copy()


def whole_numbers(counts: Any) -> list[int]:
    """Check that ``counts`` is a list of whole numbers >= 0.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(counts, list | tuple):
        raise ValueError("expected a list of whole numbers or COCO's compressed text")
    runs = list(cast("Sequence[Any]", counts))
    for run in runs:
        if type(run) is not int or not 0 <= run <= MAX_PIXELS:
            raise ValueError(f"run length {shown(run)}; expected a whole number >= 0")
    return runs


def compress_runs(runs: Sequence[int]) -> str:
    """Write run lengths as COCO's text: differences to the run before last, 5 bits a letter."""
    letters: list[str] = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits = value & 31
            value >>= 5
            done = value == (-1 if bits & 16 else 0)
            letters.append(chr(48 + (bits if done else bits | 32)))
            if done:
                break
    return "".join(letters)


def expand_runs(text: str) -> list[int]:
    """Read run lengths from COCO's text.

    Raises:
        ValueError: Not such a text, or a run length below zero.
    """
    runs: list[int] = []
    for value in _signed_numbers(text):
        run = value + runs[-2] if len(runs) > 2 else value
        if not 0 <= run <= MAX_PIXELS:
            raise ValueError("its compressed run lengths are damaged")
        runs.append(run)
    return runs


def _signed_numbers(text: str) -> Iterable[int]:
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError("its compressed run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            yield value - (1 << shift) if bits & 16 else value
            value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are cut off")
