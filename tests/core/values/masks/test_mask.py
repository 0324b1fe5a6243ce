"""Run-length coded masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydantic import ValidationError

from threedis_core.errors import LayoutError
from threedis_core.values.masks.mask import Mask
from threedis_core.values.masks.run_lengths import compress_runs, expand_runs

pictures = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20))


@given(pictures.filter(lambda pixels: bool(pixels.any())))
def test_decoding_gives_back_what_was_encoded(pixels: np.ndarray) -> None:
    mask = Mask.encode(pixels)
    assert (mask.height, mask.width) == pixels.shape
    assert (mask.decode() == pixels).all()


@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_compressed_run_lengths_read_back(runs: list[int]) -> None:
    assert expand_runs(compress_runs(np.array(runs, dtype=np.int64))).tolist() == runs


def test_the_compressed_text_is_the_one_of_coco() -> None:
    # By hand: 5 bits a letter from "0", low bits first, 32 = more follows; from the fourth run
    # on, the difference to the run before last.
    assert compress_runs(np.array([6, 1, 40, 4, 5, 4, 5, 4, 21])) == "61X13mN000`0"
    assert expand_runs("61X13mN000`0").tolist() == [6, 1, 40, 4, 5, 4, 5, 4, 21]


def test_runs_count_down_the_columns() -> None:
    mask = Mask.model_validate({"size": [2, 3], "counts": [1, 3, 2]})
    assert mask.decode().tolist() == [[False, True, False], [True, True, False]]


@pytest.mark.parametrize(
    "code",
    [
        {"size": [2, 2], "counts": [4]},
        {"size": [2, 2], "counts": [1, -1, 4]},
        {"size": [2, 2], "counts": [1, 2.0, 1]},
        {"size": [2, 2], "counts": [1, True, 2]},
        {"size": [2, 2], "counts": None},
        {"size": [2, 2], "counts": b"04"},
        {"size": [2, 2], "counts": "~"},
        {"size": [2, 2], "counts": "P"},
        {"size": [2, 2], "counts": "oooooooooooooooooooo0"},
        {"size": [2, 2], "counts": "é"},
        {"size": [0, 2], "counts": [0]},
        {"size": [16384, 16384], "counts": [0, 2**28]},
        {"size": [2], "counts": [0, 2]},
        {"size": [2, 2], "counts": [0, 4], "more": 1},
    ],
)
def test_a_damaged_code_is_refused(code: object) -> None:
    with pytest.raises(ValidationError):
        Mask.model_validate(code)


def test_pixels_that_make_no_mask_are_refused() -> None:
    with pytest.raises(LayoutError, match="it is empty; expected at least one set pixel"):
        Mask.encode(np.zeros((3, 3)))
    with pytest.raises(LayoutError, match=r"mask has shape \(3,\); expected \(height, width\)"):
        Mask.encode(np.ones(3))
    with pytest.raises(LayoutError, match=r"a mask of 3x0 pixels; expected 1 to 16384"):
        Mask.encode(np.ones((0, 3)))


@given(st.text(max_size=20))
def test_any_text_is_a_code_or_is_refused(text: str) -> None:
    try:
        runs = expand_runs(text)
    except ValueError:
        return
    assert (runs >= 0).all()


@pytest.mark.parametrize("white", [1, 200, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_a_picture_is_set_where_it_is_bright(tmp_path: Path, mode: str, white: int) -> None:
    pixels = np.zeros((4, 6), dtype=np.uint8)
    pixels[1:3, 2:5] = 255 if mode in ("1", "P") else white
    Image.fromarray(pixels).convert(mode).save(tmp_path / "mask.png")
    assert (Mask.load(tmp_path / "mask.png").decode() == (pixels > 0)).all()


def test_a_checkerboard_of_8192_squared_is_refused_by_its_runs(tmp_path: Path) -> None:
    rows, columns = np.ogrid[:8192, :8192]
    Image.fromarray((rows + columns) % 2 == 1).save(tmp_path / "checkers.png")
    with pytest.raises(LayoutError, match="its pixels change 67108864 times down the columns"):
        Mask.load(tmp_path / "checkers.png")


def test_codes_of_too_many_runs_are_refused() -> None:
    for counts in ("1" * (2**22 + 1), "1" * (13 * 2**20), [1] * (2**22 + 1)):
        with pytest.raises(ValidationError, match="expected at most"):
            Mask.model_validate({"size": [8192, 8192], "counts": counts})


def test_a_mask_of_a_million_runs_reads_back() -> None:
    pixels = np.random.default_rng(0).random((1024, 2048)) < 0.5
    assert (Mask.encode(pixels).decode() == pixels).all()


@given(pictures.filter(lambda pixels: bool(pixels.any())), st.integers(0, 5), st.integers(0, 5))
def test_a_part_is_encoded_like_the_picture_around_it(
    part: np.ndarray, row: int, column: int
) -> None:
    height, width = part.shape
    whole = np.zeros((height + row + 2, width + column), dtype=bool)
    whole[row : row + height, column : column + width] = part
    assert Mask.encode(part, whole.shape, (row, column)) == Mask.encode(whole)


@pytest.mark.parametrize("bits", [8, 16])
def test_half_the_brightest_value_is_set_at_any_depth(tmp_path: Path, bits: int) -> None:
    brightest = 2**bits - 3
    half = (brightest + 1) // 2
    pixels = np.array([[0, half - 1, half, brightest]], dtype=f"uint{bits}")
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert Mask.load(tmp_path / "mask.png").decode().tolist() == [[False, False, True, True]]
