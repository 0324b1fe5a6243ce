"""COCO's compressed text of run lengths, written and read without a step of Python per run.

Every run is a signed number: from the fourth on, the difference to the run before last. A number
is written five bits a letter, low bits first, from "0"; 32 is added where more letters follow.
R = number of runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from threedis_core.files.limits import MAX_MASK_LETTERS, MAX_PIXELS, MAX_RUNS

Runs = NDArray[np.int64]
MOST_LETTERS = 9
"""Of one number: 45 bits, far more than a run of a mask can need."""


def compress_runs(runs: Runs) -> str:
    """Write run lengths as COCO's text.

    Args:
        runs: Shape (R,), each from 0 to 2**26.
    """
    value = runs.copy()
    value[3:] -= runs[1:-2]
    letters = np.zeros((len(runs), MOST_LETTERS), dtype=np.uint8)
    going_on = np.ones(len(runs), dtype=np.bool_)
    for place in range(MOST_LETTERS):
        bits = value & 31
        value >>= 5
        last = value == np.where(bits & 16, -1, 0)
        letters[:, place] = np.where(going_on, 48 + bits + np.where(last, 0, 32), 0)
        going_on &= ~last
        if not going_on.any():
            break
    return letters[letters > 0].tobytes().decode("ascii")


def expand_runs(text: str) -> Runs:
    """Read run lengths from COCO's text.

    Returns:
        Shape (R,), each from 0 to 2**26.
    Raises:
        ValueError: Not such a text, a run length below zero, or too many of them.
    """
    if len(text) > MAX_MASK_LETTERS:
        raise ValueError(f"a code of {len(text)} letters; expected at most {MAX_MASK_LETTERS}")
    value = _signed_numbers(text)
    # Checked first, so that the sums below cannot overflow; such a run is out of range anyway.
    if (np.abs(value) > MAX_PIXELS).any():
        raise ValueError("its compressed run lengths are damaged")
    for chain in (slice(1, None, 2), slice(2, None, 2)):
        value[chain] = np.cumsum(value[chain])
    if ((value < 0) | (value > MAX_PIXELS)).any():
        raise ValueError("its compressed run lengths are damaged")
    return value


def check_run_count(count: int) -> None:
    """Refuse more runs than a mask can sensibly have.

    Raises:
        ValueError: More than 2**22.
    """
    if count > MAX_RUNS:
        raise ValueError(
            f"its pixels change {count} times down the columns; expected at most {MAX_RUNS}: "
            "smooth the mask or make it smaller"
        )


def _signed_numbers(text: str) -> Runs:
    """The numbers that the letters spell, shape (R,)."""
    if not text.isascii():
        raise ValueError("its compressed run lengths are damaged")
    bits = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - np.uint8(48)  # below "0" wraps
    if (bits >= 64).any():
        raise ValueError("its compressed run lengths are damaged")
    ends = np.flatnonzero(bits < 32)
    check_run_count(len(ends))
    if len(bits) and (not len(ends) or ends[-1] != len(bits) - 1):
        raise ValueError("its compressed run lengths are cut off")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)[: len(ends)]
    lengths = ends - starts + 1
    if (lengths > MOST_LETTERS).any():
        raise ValueError("its compressed run lengths are damaged")
    value = np.zeros(len(ends), dtype=np.int64)
    for place in range(int(lengths.max(initial=0))):
        longer = lengths > place
        value[longer] |= (bits[starts[longer] + place] & 31).astype(np.int64) << (5 * place)
    negative = (bits[ends] & 16) > 0
    value[negative] -= np.int64(1) << (5 * lengths[negative])
    return value
