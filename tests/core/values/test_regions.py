"""Regions on pixels and on token grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threedis_core.errors import LayoutError
from threedis_core.values.box_rounding import box_pixels, box_tokens
from threedis_core.values.layout import Box, Layout
from threedis_core.values.palette import instance_color
from threedis_core.values.regions import Regions


def regions(*boxes: tuple[float, float, float, float], size: int = 16) -> Regions:
    found = tuple(Box.from_xyxy(box) for box in boxes)
    return Regions(found, (None,) * len(found), size, size)


def masked(pixels: np.ndarray) -> Regions:
    return Regions((Box.from_xyxy((0, 0, 1, 1)),), (pixels,), *pixels.shape)


def test_a_box_covers_its_truncated_pixels() -> None:
    mask = regions((0.26, 0.1, 0.74, 0.99)).pixel_masks(10, 20)
    expected = np.zeros((1, 10, 20), dtype=np.float32)
    expected[0, 1:9, 5:14] = 1
    assert mask.dtype == np.float32
    assert (mask == expected).all()


def test_a_box_covers_every_token_it_touches() -> None:
    mask = regions((0.26, 0.1, 0.74, 0.51)).token_masks(4, 8)
    expected = np.zeros((1, 4, 8), dtype=bool)
    expected[0, 0:3, 2:6] = True
    assert mask.dtype == bool
    assert (mask == expected).all()


fractions = st.floats(0, 1)


@given(st.tuples(fractions, fractions, fractions, fractions), st.integers(1, 9), st.integers(1, 9))
def test_every_box_has_a_token(
    corners: tuple[float, float, float, float], rows: int, columns: int
) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    if x0 < x1 and y0 < y1:
        assert regions((x0, y0, x1, y1)).token_masks(rows, columns).any()


@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 20), st.integers(1, 20))
def test_every_mask_has_a_token_near_its_pixel(
    row: int, column: int, rows: int, columns: int
) -> None:
    pixels = np.zeros((64, 64), dtype=bool)
    pixels[row, column] = True
    tokens = np.argwhere(masked(pixels).token_masks(rows, columns)[0])
    assert len(tokens) >= 1
    distance = np.abs((tokens + 0.5) / (rows, columns) - (np.array([row, column]) + 0.5) / 64)
    assert (distance <= 1.5 / np.array([rows, columns]) + 1 / 64).all()


def test_mask_tokens_are_where_torch_resizes_to_above_zero() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for height, width, rows, columns in [(64, 48, 4, 3), (30, 50, 7, 9), (8, 8, 16, 16)]:
        pixels = rng.random((height, width)) < 0.2
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(pixels)[None, None].float(), (rows, columns), mode="bilinear"
        )
        assert (masked(pixels).token_masks(rows, columns)[0] == (resized[0, 0] > 0).numpy()).all()


def test_masks_are_resized_to_the_nearest_pixel() -> None:
    pixels = np.zeros((4, 4), dtype=bool)
    pixels[:2, 2:] = True
    found = masked(pixels)
    assert (found.pixel_masks(4, 4)[0] == pixels).all()
    assert (found.pixel_masks(8, 8)[0] == np.kron(pixels, np.ones((2, 2)))).all()
    assert (found.pixel_masks(2, 2)[0] == [[0, 1], [0, 0]]).all()


def test_a_layout_gives_its_masks_and_else_its_boxes() -> None:
    pixels = np.eye(8, dtype=bool)
    layout = Layout.from_dict(
        {
            "prompt": "a room",
            "instances": [
                {"prompt": "a", "box": [0, 0, 0.5, 0.5]},
                {"prompt": "b", "box": [0, 0, 1, 1], "mask": pixels},
            ],
        }
    )
    found = Regions.from_layout(layout, width=16, height=8)
    assert len(found) == 2
    assert (found.width, found.height) == (16, 8)
    assert found.masks[0] is None
    assert (found.pixel_masks(8, 16)[1] == np.repeat(pixels, 2, axis=1)).all()


def test_no_instances_give_no_masks() -> None:
    assert regions().pixel_masks(4, 6).shape == (0, 4, 6)
    assert regions().token_masks(2, 3).shape == (0, 2, 3)
    assert regions().to_image().size == (16, 16)


def test_masks_are_read_only_copies() -> None:
    pixels = np.ones((4, 4), dtype=bool)
    found = masked(pixels)
    pixels[:] = False
    assert found.masks[0] is not None
    assert found.masks[0].all()
    with pytest.raises(ValueError, match="read-only"):
        found.masks[0][0, 0] = False


def test_wrong_masks_are_refused() -> None:
    box = Box.from_xyxy((0, 0, 1, 1))
    with pytest.raises(LayoutError, match=r"shape \(2, 3\); expected \(4, 4\)"):
        Regions((box,), (np.ones((2, 3), dtype=bool),), 4, 4)
    with pytest.raises(LayoutError, match="1 boxes and 0 masks"):
        Regions((box,), (), 4, 4)


def test_the_picture_shows_each_region_in_its_colour_and_mixes_overlaps() -> None:
    image = regions((0, 0, 0.5, 1), (0.25, 0, 0.75, 1)).to_image()
    assert image.getpixel((0, 0)) == instance_color(0)
    assert image.getpixel((10, 0)) == instance_color(1)
    mixed = [(a + b) / 2 for a, b in zip(instance_color(0), instance_color(1), strict=True)]
    assert all(
        math.isclose(a, b, abs_tol=1) for a, b in zip(image.getpixel((5, 0)), mixed, strict=True)
    )


def test_colours_never_run_out() -> None:
    colours = {instance_color(index) for index in range(60)}
    assert len(colours) == 60


def test_the_two_rules_by_which_a_box_becomes_pixels_or_tokens() -> None:
    box = Box.from_xyxy((0.26, 0.1, 0.74, 0.51))
    assert box_pixels(box, 10, 20) == (slice(1, 5), slice(5, 14))  # truncated
    assert box_tokens(box, 10, 20) == (slice(1, 6), slice(5, 15))  # every one that is touched


def test_regions_that_would_fill_the_memory_are_refused_before_the_work() -> None:
    many = regions(*[(0, 0, 1, 1)] * 1000, size=2048)
    for make in (many.pixel_masks, many.token_masks):
        with pytest.raises(LayoutError, match="1000 regions of 2048x2048 are 4194304000 values"):
            make(2048, 2048)
        with pytest.raises(LayoutError, match="regions of 16384x16384 pixels; expected 1 to"):
            make(16384, 16384)
    assert many.to_image().size == (2048, 2048)


def test_a_picture_of_many_rows_is_the_mean_of_the_colours_at_every_pixel() -> None:
    random = np.random.default_rng(0)
    boxes = [(0, 0, 0.5, 0.7), (0.2, 0.3, 0.9, 1), (0, 0, 1, 0.01), (0.1, 0.1, 0.2, 0.9)]
    masks = (None, None, random.random((600, 30)) < 0.3, None)
    found = Regions(tuple(Box.from_xyxy(box) for box in boxes), masks, 600, 30)
    inside = found.pixel_masks(600, 30)
    colours = np.array([instance_color(index) for index in range(4)])
    mean = np.einsum("nhw,nc->hwc", inside, colours) / np.maximum(inside.sum(0), 1)[..., None]
    expected = np.where(inside.any(axis=0)[..., None], mean, 24)
    assert np.abs(np.asarray(found.to_image()) - expected).max() <= 0.5


@pytest.mark.parametrize("size", [(6.5, 4), (6, 4.0), ("6", 4), (None, 4)])
def test_a_size_that_is_no_whole_number_of_pixels_is_refused(size: tuple) -> None:
    with pytest.raises(LayoutError, match="pixels; expected whole numbers"):
        Regions.from_layout(Layout(prompt="a room"), *size)
