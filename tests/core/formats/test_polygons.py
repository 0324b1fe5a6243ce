"""Polygons become the pixels whose centre is inside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threedis_core.errors import LayoutError
from threedis_core.formats.coco_masks import PictureMasks
from threedis_core.formats.polygons import fill_polygons

WIDTH, HEIGHT = 23, 17
corners = st.tuples(st.floats(-3, WIDTH + 3), st.floats(-3, HEIGHT + 3)) | st.tuples(
    st.integers(0, 2 * WIDTH).map(lambda side: side / 2),
    st.integers(0, 2 * HEIGHT).map(lambda side: side / 2),
)
polygons = st.lists(corners, min_size=3, max_size=12).map(
    lambda points: np.array(points, dtype=np.float64).clip(0, (WIDTH, HEIGHT))
)


def row_by_row(polygon: np.ndarray, pixels: np.ndarray) -> None:
    """The same rule as a scan of every row: slow, and plain to see."""
    x, y = polygon.T
    to_x, to_y = np.roll(polygon, -1, axis=0).T
    for row in range(HEIGHT):
        middle = row + 0.5
        crossed = (y <= middle) != (to_y <= middle)
        share = (middle - y[crossed]) / (to_y[crossed] - y[crossed])
        crossings = sorted(x[crossed] + share * (to_x[crossed] - x[crossed]))
        for start, stop in zip(crossings[::2], crossings[1::2], strict=True):
            pixels[row, math.ceil(start - 0.5) : math.ceil(stop - 0.5)] = True


@given(st.lists(polygons, min_size=1, max_size=3))
def test_the_filled_pixels_are_those_of_a_scan_row_by_row(found: list[np.ndarray]) -> None:
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for polygon in found:
        row_by_row(polygon, expected)
    mask = fill_polygons(found, WIDTH, HEIGHT)
    pixels = np.zeros_like(expected) if mask is None else mask.decode()
    assert (pixels == expected).all()


def zigzag(size: int, count: int) -> list[float]:
    """A polygon whose sides all run from the top to the bottom of the picture and back."""
    across = np.linspace(0, size, count)
    down = np.where(np.arange(count) % 2, 0.0, size)
    return np.stack([across, down], axis=1).reshape(-1).tolist()


def disc(size: int, count: int) -> list[float]:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return (size * (0.5 + 0.5 * np.stack([np.cos(turn), np.sin(turn)], 1))).reshape(-1).tolist()


def test_a_large_polygon_of_many_corners_is_filled() -> None:
    mask = PictureMasks(8192, 8192).read([disc(8192, 20_000)])
    assert mask is not None
    assert mask.decode().mean() == pytest.approx(math.pi / 4, abs=1e-4)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([zigzag(8192, 20_000)], "simplify them or make the picture smaller"),
        ([[0, 0, 8192, 0, 8192, 8192]] * 20, "cover too much"),
        ([[0, 0, 1, 0, 1, 1]] * 50_000, "too many or too long sides"),
    ],
)
def test_polygons_that_would_take_too_long_are_refused_before_any_is_filled(
    segmentation: object, said: str
) -> None:
    with pytest.raises(LayoutError, match=said):
        PictureMasks(8192, 8192).read(segmentation)


def test_more_masks_than_fit_the_memory_are_refused() -> None:
    masks = PictureMasks(8192, 8192)
    for _ in range(8):
        masks.read([[0, 0, 10, 0, 10, 10]])
    with pytest.raises(LayoutError, match="all masks have 603979776 pixels or more together"):
        masks.read([[0, 0, 10, 0, 10, 10]])
