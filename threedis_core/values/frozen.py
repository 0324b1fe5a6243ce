"""Arrays that nobody can write to."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def frozen(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """A read-only copy in C order; the array itself, where it is such a one already.

    Raises:
        TypeError: Not numbers.
        ValueError: Not an array.
    """
    if isinstance(values, np.ndarray):
        array = cast("NDArray[Any]", values)
        if _is_frozen(array, np.dtype(dtype)):
            return array
    with np.errstate(over="ignore"):  # what is too large becomes infinite, for the caller to see
        copy = np.array(values, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _is_frozen(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    # An array with a base is a view: whoever has the base can write.
    flags = values.flags
    return values.dtype == dtype and flags.owndata and flags.c_contiguous and not flags.writeable
