"""Binary masks as run-length codes, the way COCO stores them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from threedis_core.errors import LayoutError, retold
from threedis_core.files.limits import MAX_PIXELS, MAX_SIDE, check_size
from threedis_core.files.pictures import is_transparent, open_picture
from threedis_core.files.printable import printable
from threedis_core.files.schemas import WrittenAs
from threedis_core.values.box import LayoutValue
from threedis_core.values.masks.run_lengths import Runs, check_run_count, compress_runs, expand_runs
from threedis_core.values.problems import shown

Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]
"""Pixels along one side of a picture."""
_RUNS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}}


class Mask(LayoutValue):
    """A picture-sized binary mask, kept run-length coded; immutable and small.

    Args:
        size: (height, width) in pixels.
        counts: Run lengths of 0s and 1s in turn, starting with 0s, counted down the columns;
            a list of whole numbers or COCO's compressed text. Kept as the compressed text.
    """

    size: tuple[Side, Side] = Field(description=f"[height, width], each from 1 to {MAX_SIDE}")
    counts: Annotated[str, WrittenAs(_RUNS)] = Field(
        description="COCO run lengths: a list of whole numbers or text"
    )

    @field_validator("counts", mode="before")
    @classmethod
    def _compress(cls, counts: Any) -> Any:
        return counts if isinstance(counts, str) else compress_runs(whole_numbers(counts))

    @model_validator(mode="after")
    def _check_runs(self) -> Mask:
        check_size(self.width, self.height, LayoutError, "a mask of")
        runs = expand_runs(self.counts)
        if runs.sum() != self.height * self.width:
            raise ValueError(
                f"its run lengths sum to {runs.sum()}; expected height * width = "
                f"{self.height * self.width}"
            )
        if not runs[1::2].any():
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
    def encode(
        cls,
        pixels: ArrayLike,
        size: tuple[int, int] | None = None,
        corner: tuple[int, int] = (0, 0),
    ) -> Mask:
        """Make a mask from an array of shape (height, width); nonzero is set.

        Args:
            pixels: The picture's pixels, or a part of them.
            size: (height, width) of the picture; None: that of ``pixels``.
            corner: (row, column) of the picture that the part starts at.
        Raises:
            LayoutError: Another shape, no set pixel, too many pixels, or more than 2**22 runs.
        """
        array = np.asarray(pixels)
        if array.ndim != 2:
            raise LayoutError(f"mask has shape {array.shape}; expected (height, width)")
        height, width = (int(side) for side in size or array.shape)
        check_size(width, height, LayoutError, "a mask of")
        try:
            runs = _runs(array != 0, height, width, corner)
        except ValueError as error:
            raise LayoutError(f"mask: {error}") from None
        return cls(size=(height, width), counts=compress_runs(runs))

    @classmethod
    def load(cls, path: str | Path) -> Mask:
        """Read a mask from a PNG file; set are pixels of at least half the brightest value.

        Raises:
            LayoutError: No readable, opaque PNG, too large, all black, or of too many runs.
        """
        picture = open_picture(path, LayoutError, "a mask", formats=("PNG",))
        name = printable(path)
        if is_transparent(picture):
            raise LayoutError(
                f"{name}: has transparency; expected a black-and-white picture", file=path
            )
        grey = picture if picture.mode in ("1", "L", "I", "I;16") else picture.convert("L")
        values = np.asarray(grey)
        brightest = int(values.max())
        if brightest <= 0:
            raise LayoutError(f"{name}: all black; expected at least one white pixel", file=path)
        try:
            return cls.encode(values >= (brightest + 1) // 2)
        except LayoutError as error:
            raise retold(error, LayoutError, f"{name}: {error}", file=path) from None

    def decode(self) -> NDArray[np.bool_]:
        """The mask's pixels, shape (height, width)."""
        runs = expand_runs(self.counts)
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(self.width, self.height).T.copy()


def whole_numbers(counts: Any) -> Runs:
    """Check that ``counts`` is a list of whole numbers from 0 to 2**26.

    Returns:
        Shape (R,).
    Raises:
        ValueError: It is not, or has more than 2**22 of them.
    """
    if not isinstance(counts, list | tuple):
        raise ValueError("expected a list of whole numbers or COCO's compressed text")
    runs = cast("Sequence[Any]", counts)
    check_run_count(len(runs))
    for run in runs:
        if type(run) is not int or not 0 <= run <= MAX_PIXELS:
            raise ValueError(f"run length {shown(run)}; expected a whole number >= 0")
    return np.array(runs, dtype=np.int64)


def _runs(part: NDArray[np.bool_], height: int, width: int, corner: tuple[int, int]) -> Runs:
    """Run lengths of a picture that is set where its part is, shape (R,).

    Args:
        part: Shape (rows, columns).
        height: Of the picture.
        width: Of the picture.
        corner: (row, column) of the picture that the part starts at.
    """
    # Where a pixel differs from the one above; above the first and below the last one is nothing.
    changes = np.zeros((part.shape[0] + 1, part.shape[1]), dtype=np.bool_)
    changes[:-1] = part
    changes[1:] ^= part
    check_run_count(int(np.count_nonzero(changes)))
    rows, columns = np.nonzero(changes)
    places = np.sort((columns + corner[1]) * height + rows + corner[0])
    # A column that is set to its end goes on in one that is set from its start: no change there.
    joined = np.flatnonzero(places[1:] == places[:-1])
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    bounds = np.concatenate([[0], places, [height * width]]).astype(np.int64)
    runs = np.diff(bounds)
    return runs[:-1] if runs[-1] == 0 else runs
