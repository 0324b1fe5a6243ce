"""``depth-edges``: instances cut out of their boxes by depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threedis_core import Box, DepthMap, Instance, Layout, Regions, load_plugins
from threedis_core.errors import LayoutError
from threedis_core.refiners.depth_behind import depth_behind, greatest_nearby
from threedis_core.refiners.depth_edges import DepthEdges, DepthEdgesOptions

SIZE = 64
NEARER, FARTHER = (28, 20, 52, 44), (12, 20, 36, 44)
SHARED = slice(28, 36)
FLOOR = np.repeat(np.linspace(0.1, 0.7, SIZE, dtype=np.float32)[:, None], SIZE, axis=1)
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    """The pixels of a disc."""
    return (COLUMNS + 0.5 - x) ** 2 + (ROWS + 0.5 - y) ** 2 <= radius**2


def instance(x0: int, y0: int, x1: int, y1: int, **fields: object) -> Instance:
    """An instance whose box is given in pixels."""
    box = Box.from_xyxy([side / SIZE for side in (x0, y0, x1, y1)])
    return Instance(prompt="a thing", box=box, **fields)


def refine(depth: np.ndarray, *instances: Instance, **options: float) -> Regions:
    layout = Layout(prompt="things", instances=instances)
    return DepthEdges(DepthEdgesOptions(**options)).refine(layout, DepthMap(depth))


def pixels(regions: Regions) -> np.ndarray:
    return regions.pixel_masks(SIZE, SIZE) > 0


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_it_is_installed() -> None:
    assert isinstance(load_plugins().region_refiner("depth-edges", {"edge": 0.5}), DepthEdges)


def test_a_disc_on_a_floor_that_comes_nearer_is_cut_out_of_its_box() -> None:
    shape = disc(32, 40, 12)
    found = pixels(refine(np.where(shape, 0.8, FLOOR), instance(20, 28, 44, 52)))
    assert np.array_equal(found[0], shape)


def test_floor_that_is_nearer_than_the_instance_is_not_taken_for_it() -> None:
    shape = disc(32, 24, 12)
    depth = np.where(shape, 0.5, FLOOR)
    assert (FLOOR[50:60] > 0.5).all()
    found = pixels(refine(depth, instance(20, 12, 44, 60)))
    assert np.array_equal(found[0], shape)


def test_a_blurred_edge_is_found_on_its_slope() -> None:
    shape = disc(32, 32, 12)
    depth = np.where(shape, 0.9, 0.1)
    for _ in range(4):
        depth = sum(np.roll(depth, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    box = instance(13, 13, 51, 51)
    assert iou(pixels(refine(depth, box, edge=0.5))[0], shape) > 0.85
    assert iou(pixels(refine(depth, box, edge=0))[0], shape) < 0.75


def two_discs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The depth of a nearer disc over a farther one, and what is seen of each."""
    near, far = disc(40, 32, 12), disc(24, 32, 12)
    return np.where(near, 0.9, np.where(far, 0.6, 0.1)), near, far & ~near


@pytest.mark.parametrize("turned", [False, True])
def test_overlapping_boxes_are_resolved_by_depth_in_any_order(turned) -> None:
    depth, near, far = two_discs()
    boxes = [instance(*NEARER), instance(*FARTHER)]
    found = pixels(refine(depth, *(reversed(boxes) if turned else boxes)))
    first, second = (far, near) if turned else (near, far)
    assert np.array_equal(found[0], first)
    assert np.array_equal(found[1], second)


def test_an_instance_in_front_of_another_one_is_cut_out_of_that_one() -> None:
    large, small = disc(32, 32, 24), disc(32, 32, 8)
    depth = np.where(small, 0.9, np.where(large, 0.5, FLOOR / 2))
    found = pixels(refine(depth, instance(8, 8, 56, 56), instance(24, 24, 40, 40)))
    assert np.array_equal(found[0], large & ~small)
    assert np.array_equal(found[1], small)


def test_a_box_around_the_whole_picture_hides_nothing_from_the_others() -> None:
    shape = disc(32, 32, 12)
    depth = np.where(shape, 0.9, FLOOR)
    found = pixels(refine(depth, instance(0, 0, SIZE, SIZE), instance(20, 20, 44, 44)))
    assert np.array_equal(found[1], shape)
    assert not (found[0] & found[1]).any()


@pytest.mark.parametrize("first_in_front", [True, False])
def test_at_one_depth_the_layouts_order_decides(first_in_front) -> None:
    things = disc(24, 32, 12) | disc(40, 32, 12)
    orders = (0, 1) if first_in_front else (1, 0)
    boxes = [
        instance(*box, depth_order=at) for box, at in zip((FARTHER, NEARER), orders, strict=True)
    ]
    found = pixels(refine(np.where(things, 0.8, 0.1), *boxes))[:, :, SHARED]
    front, back = (0, 1) if first_in_front else (1, 0)
    assert np.array_equal(found[front], things[:, SHARED])
    assert not found[back].any()


def test_the_layouts_order_wins_over_the_depth_map() -> None:
    depth, near, far = two_discs()
    boxes = instance(*NEARER, depth_order=5), instance(*FARTHER, depth_order=2)
    found = pixels(refine(depth, *boxes))[:, :, SHARED]
    assert np.array_equal(found[1], (near | far)[:, SHARED])
    assert not found[0].any()


def test_an_order_that_only_some_have_leaves_the_others_where_their_depth_puts_them() -> None:
    depth, near, far = two_discs()
    some = instance(*NEARER, depth_order=9), instance(*FARTHER)
    found = pixels(refine(depth, *some))
    assert np.array_equal(found[0], near)
    assert np.array_equal(found[1], far)


def test_a_mask_of_the_layout_stays_as_it_is_and_keeps_others_out() -> None:
    depth, near, far = two_discs()
    masked = instance(*NEARER, mask=near)
    found = pixels(refine(depth, masked, instance(*FARTHER)))
    assert np.array_equal(found[0], near)
    assert np.array_equal(found[1], far)


@pytest.mark.parametrize("size", [16, 200])
def test_masks_of_another_size_than_the_depth_map_keep_every_pixel(size) -> None:
    depth, near, far = two_discs()
    rows = columns = np.arange(size) * SIZE // size
    mask = near[np.ix_(rows, columns)]
    mask[1, size // 2] = True  # one pixel by itself, lost in a smaller picture
    found = refine(depth, instance(*NEARER, mask=mask), instance(*FARTHER))
    assert np.array_equal(found.masks[0], mask)
    assert iou(found.pixel_masks(SIZE, SIZE)[1] > 0, far) > (0.6 if size < SIZE else 0.9)


def test_a_trace_of_an_instance_does_not_take_its_boxs_place() -> None:
    depth = np.where(disc(20, 20, 3), 0.9, 0.3)
    found = refine(depth, instance(10, 10, 50, 50))
    assert found.masks == (None,)
    assert refine(depth, instance(14, 14, 26, 26)).masks[0] is not None


def test_what_another_one_hides_does_not_count_as_missing() -> None:
    near, far = disc(34, 32, 14), disc(28, 32, 14)
    depth = np.where(near, 0.9, np.where(far, 0.6, 0.1))
    seen = far & ~near
    found = pixels(refine(depth, instance(20, 18, 48, 46), instance(14, 18, 42, 46)))
    assert seen.sum() < 0.3 * 28**2
    assert np.array_equal(found[1], seen)


@pytest.mark.parametrize("turned", [False, True])
def test_a_box_in_which_nothing_is_found_leaves_out_what_is_in_front_of_it(turned) -> None:
    shape = disc(32, 32, 12)
    depth = np.where(shape, 0.9, 0.2)
    boxes = [instance(20, 20, 44, 44, depth_order=0), instance(4, 28, 60, 36, depth_order=1)]
    depth[28:36] = np.where(shape[28:36], 0.9, 0.1)  # a groove: farther than what is around it
    found = pixels(refine(depth, *(reversed(boxes) if turned else boxes)))
    front, back = (1, 0) if turned else (0, 1)
    assert np.array_equal(found[front], shape)
    strip = np.zeros_like(shape)
    strip[28:36, 4:60] = True
    assert np.array_equal(found[back], strip & ~shape)


@pytest.mark.parametrize("order", [(0, 1), (None, None)])
def test_a_flat_thing_on_another_one_is_cut_out_of_that_one(order) -> None:
    cupboard = np.zeros((SIZE, SIZE), dtype=bool)
    cupboard[8:56, 8:56] = True
    poster = np.zeros_like(cupboard)
    poster[20:40, 20:40] = True
    boxes = [
        instance(20, 20, 40, 40, depth_order=order[0]),
        instance(6, 6, 58, 58, depth_order=order[1]),
    ]
    found = pixels(refine(np.where(cupboard, 0.8, 0.2), *boxes))
    assert np.array_equal(found[0], poster)
    assert np.array_equal(found[1], cupboard & ~poster)


def test_a_hidden_instance_keeps_its_box_only_where_nothing_of_it_is_left() -> None:
    shape = disc(32, 32, 20)
    depth = np.where(shape, 0.9, 0.1)
    boxes = [instance(12, 12, 52, 52, depth_order=0), instance(28, 28, 36, 36, depth_order=1)]
    found = refine(depth, *boxes)
    assert np.array_equal(found.masks[0], shape)
    assert found.masks[1] is None


def test_where_nothing_stands_out_the_box_is_the_region() -> None:
    found = refine(np.full((SIZE, SIZE), 0.5), instance(12, 12, 40, 40))
    assert found.masks == (None,)
    assert pixels(found).sum() == 28**2


def test_regions_have_the_size_of_the_depth_map() -> None:
    depth = np.where(disc(24, 32, 12), 0.9, 0.1)[:, :48]
    found = refine(depth, instance(8, 8, 56, 56))
    assert (found.width, found.height) == (48, 64)


def test_no_instances_have_no_regions() -> None:
    assert len(refine(FLOOR)) == 0


side = st.floats(0, 1, width=32)
boxes = st.tuples(side, side, side, side).map(
    lambda s: (min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3]))
)


@settings(max_examples=60)
@given(
    st.lists(boxes.filter(lambda b: b[0] < b[2] and b[1] < b[3]), min_size=2, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_instances_of_different_order_share_no_pixel_unless_nothing_else_was_left(
    corners, seed
) -> None:
    random = np.random.default_rng(seed)
    values = np.round(random.uniform(0, 1, (6, 5)), 1).repeat(4, axis=0).repeat(4, axis=1)
    instances = tuple(
        Instance(prompt="a thing", box=Box.from_xyxy(box), depth_order=order)
        for order, box in enumerate(corners)
    )
    layout = Layout(prompt="things", instances=instances)
    found = DepthEdges(DepthEdgesOptions()).refine(layout, DepthMap(values))
    taken = np.zeros(values.shape, dtype=bool)
    for mask, region in zip(found.masks, found.pixel_masks(*values.shape) > 0, strict=True):
        if mask is None and (region & taken).any():
            assert not (region & ~taken).any()  # the whole box belongs to those in front
        else:
            assert not (region & taken).any()
        taken |= region


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            boxes.filter(lambda b: b[0] < b[2] and b[1] < b[3]), st.none() | st.integers(0, 3)
        ),
        max_size=6,
    ),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["noise", "steps", "flat"]),
)
def test_any_layout_on_any_depth_has_regions_that_are_not_empty_and_stay_in_their_boxes(
    things, seed, kind
) -> None:
    random = np.random.default_rng(seed)
    values = random.uniform(0, 1, (24, 20)) if kind != "flat" else np.zeros((24, 20))
    depth = DepthMap(np.round(values, 1) if kind == "steps" else values)
    instances = tuple(
        Instance(prompt="a thing", box=Box.from_xyxy(box), depth_order=order)
        for box, order in things
    )
    layout = Layout(prompt="things", instances=instances)
    found = DepthEdges(DepthEdgesOptions()).refine(layout, depth)
    assert len(found) == len(instances)
    inside = Regions.from_layout(layout, 20, 24).pixel_masks(24, 20)
    assert (found.pixel_masks(24, 20) <= inside).all()
    assert all(mask is None or mask.any() for mask in found.masks)
    assert found.token_masks(6, 5).any(axis=(1, 2)).all()


def test_a_backdrop_is_filled_from_the_sides_and_from_above_and_below() -> None:
    slanted = FLOOR + np.linspace(0, 0.2, SIZE, dtype=np.float32)
    covered = np.zeros((SIZE, SIZE), dtype=bool)
    covered[10:20, 5:60] = covered[30:40] = True
    filled = depth_behind(np.where(covered, np.float32(0.99), slanted), covered)
    np.testing.assert_allclose(filled, slanted, atol=1e-5)


def test_a_backdrop_goes_on_beyond_the_last_rows_that_are_seen() -> None:
    covered = np.zeros((SIZE, SIZE), dtype=bool)
    covered[:8] = covered[-8:] = True
    filled = depth_behind(np.where(covered, np.float32(0.99), FLOOR), covered)
    np.testing.assert_array_equal(filled[:8], FLOOR[8:9].repeat(8, axis=0))
    np.testing.assert_array_equal(filled[-8:], FLOOR[-9:-8].repeat(8, axis=0))


def test_a_picture_without_any_backdrop_has_the_farthest_one() -> None:
    assert not depth_behind(FLOOR, np.ones((SIZE, SIZE), dtype=bool)).any()


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 23), st.integers(1, 24), st.booleans())
def test_a_part_of_a_backdrop_is_that_part_of_the_whole(seed, start, length, empty_rows) -> None:
    random = np.random.default_rng(seed)
    depth = random.random((24, 20)).astype(np.float32)
    covered = random.random((24, 20)) < 0.7
    covered[random.random(24) < 0.5 * empty_rows] = True
    part = slice(start, min(start + length, 24)), slice(3, 3 + length % 16)
    np.testing.assert_array_equal(
        depth_behind(depth, covered, part), depth_behind(depth, covered)[part]
    )


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.integers(1, 9))
def test_the_greatest_nearby_is_that_of_the_square_around(seed, height, width, reach) -> None:
    values = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    found = greatest_nearby(values, reach)
    for row, column in np.ndindex(values.shape):
        square = values[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) :]
        assert found[row, column] == square[:, : column - max(column - reach, 0) + reach + 1].max()


def test_a_thousand_instances_on_a_large_depth_map_are_refused_before_the_work() -> None:
    layout = Layout(prompt="things", instances=(instance(8, 8, 56, 56),) * 1000)
    large = DepthMap(np.zeros((2048, 2048), dtype=np.float32))
    with pytest.raises(LayoutError, match="cannot look at 1000 instances on a depth map of 2048x"):
        DepthEdges(DepthEdgesOptions()).refine(layout, large)
    one = Layout(prompt="thing", instances=(instance(0, 0, 64, 64),))
    with pytest.raises(LayoutError, match="with boxes of at most 33554432 pixels"):
        DepthEdges(DepthEdgesOptions()).refine(one, DepthMap(np.zeros((8192, 8192), np.float32)))


def test_masks_much_larger_than_the_depth_map_are_refused_before_the_work() -> None:
    mask = np.zeros((4096, 4096), dtype=bool)
    mask[0, 0] = True
    boxes = (instance(8, 8, 56, 56),) * 40
    layout = Layout(prompt="things", instances=(instance(8, 8, 56, 56, mask=mask), *boxes))
    with pytest.raises(LayoutError, match="cannot make 41 masks of 4096x4096"):
        DepthEdges(DepthEdgesOptions()).refine(layout, DepthMap(FLOOR))
