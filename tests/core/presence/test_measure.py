"""Presence by depth alone, on a floor with balls; the pocket's tests draw more."""

from __future__ import annotations

import time

import numpy as np
import pytest

from threedis_core.presence.measure import SEEN, presence_scores
from threedis_core.presence.words import MADE, missing_instances, rank
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout

Corners = tuple[float, float, float, float]
LEFT: Corners = (0.08, 0.45, 0.36, 0.80)
RIGHT: Corners = (0.60, 0.50, 0.90, 0.86)
SMALL: Corners = (0.42, 0.62, 0.53, 0.74)
BOXES = (LEFT, RIGHT, SMALL)


def layout_of(*boxes: Corners, **fields) -> Layout:
    instances = tuple(Instance(prompt="a thing", box=Box.from_xyxy(box)) for box in boxes)
    return Layout(prompt="things", instances=instances, **fields)


def room(*boxes: Corners, size: tuple[int, int] = (128, 128)) -> np.ndarray:
    """A wall, a floor that comes nearer, and balls that stand on it, at (width, height) pixels."""
    width, height = size
    y = (np.arange(height)[:, None] + 0.5) / height
    x = (np.arange(width)[None, :] + 0.5) / width
    depth = np.repeat(0.1 + 0.7 * np.clip((y - 0.3) / 0.7, 0, 1), width, axis=1)
    for x0, y0, x1, y1 in boxes:
        u, v = 2 * (x - x0) / (x1 - x0) - 1, 2 * (y - y0) / (y1 - y0) - 1
        near = 0.1 + 0.7 * max(0.0, (y1 - 0.3) / 0.7)
        ball = near * (1 + 0.2 * np.sqrt(np.clip(1 - u * u - v * v, 0, 1)))
        depth = np.where(u * u + v * v <= 1, np.maximum(depth, ball), depth)
    return depth


def scores(depth: np.ndarray, *boxes: Corners) -> tuple[float | None, ...]:
    return presence_scores(layout_of(*boxes), DepthMap(np.clip(depth, 0, 1)))


def blurred(depth: np.ndarray, reach: int) -> np.ndarray:
    padded = np.pad(depth, reach, mode="edge")
    shifts = range(2 * reach + 1)
    height, width = depth.shape
    return np.mean([padded[i : i + height, j : j + width] for i in shifts for j in shifts], axis=0)


def noisy(depth: np.ndarray) -> np.ndarray:
    return depth + np.random.default_rng(0).normal(0, 0.02, depth.shape)


CHANGES = {
    "exact": lambda depth: depth,
    "blurred": lambda depth: blurred(depth, 3),
    "noisy": noisy,
    "of 256 levels": lambda depth: np.round(depth * 255) / 255,
    "stretched": lambda depth: (depth - depth.min()) / np.ptp(depth),
    "flatter": lambda depth: 0.3 + depth / 3,
    "bent": lambda depth: depth**1.5,
    "tilted": lambda depth: depth * 0.7 + np.linspace(0, 0.2, depth.shape[1]),
    "like an estimate": lambda depth: noisy(blurred(depth, 2)) ** 0.7 * 0.8,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [(128, 128), (192, 128), (96, 160), (700, 500)])
def test_what_is_there_is_seen_and_what_was_left_out_is_not(
    change: str, size: tuple[int, int]
) -> None:
    full = scores(CHANGES[change](np.clip(room(*BOXES, size=size), 0, 1)), *BOXES)
    assert all(score is not None and score >= SEEN for score in full), full
    for gone in range(3):
        others = BOXES[:gone] + BOXES[gone + 1 :]
        found = scores(CHANGES[change](np.clip(room(*others, size=size), 0, 1)), *BOXES)
        assert [score is not None and score < SEEN for score in found] == [
            number == gone for number in range(3)
        ], (gone, found)


@pytest.mark.parametrize("depth", [np.zeros((64, 64)), np.full((64, 64), 0.5), room()])
def test_an_empty_map_has_nothing(depth: np.ndarray) -> None:
    assert all(score == 0 for score in scores(depth, *BOXES))


def test_a_map_of_noise_alone_has_nothing() -> None:
    noise = np.random.default_rng(0).uniform(0, 1, (128, 128))
    assert all(score is not None and score < SEEN for score in scores(noise, *BOXES))


@pytest.mark.parametrize(
    ("share", "seen"),
    [(0.4, False), (0.6, False), (0.85, True), (1.0, True), (1.2, True), (1.9, False)],
)
def test_a_thing_must_be_about_as_large_as_its_box(share: float, seen: bool) -> None:
    box = (0.38, 0.45, 0.62, 0.75)
    wide, tall = 0.24 * share, 0.30 * share
    thing = (0.5 - wide / 2, 0.75 - tall, 0.5 + wide / 2, 0.75)
    (score,) = scores(room(thing), box)
    assert score is not None
    assert (score >= SEEN) == seen, score


def test_what_a_nearer_thing_hides_is_judged_by_the_rest() -> None:
    behind, front = (0.3, 0.35, 0.6, 0.65), (0.42, 0.42, 0.78, 0.85)
    assert all(
        score is not None and score >= SEEN for score in scores(room(behind, front), behind, front)
    )
    one, other = scores(room(front), behind, front)
    assert one is not None
    assert other is not None
    assert one < SEEN <= other
    one, other = scores(room(behind), behind, front)
    assert one is not None
    assert other is not None
    assert other < SEEN <= one


def test_a_thing_in_front_of_another_one_is_looked_for_before_that() -> None:
    large, inside = (0.2, 0.3, 0.8, 0.9), (0.42, 0.7, 0.58, 0.88)
    depth = room(large)
    hidden = scores(depth, large, inside)[1]
    assert hidden is not None
    assert hidden < SEEN
    y, x = np.mgrid[:128, :128] / 128
    depth[(x > 0.42) & (x < 0.58) & (y > 0.7) & (y < 0.88)] = 0.95
    assert all(score is not None and score >= SEEN for score in scores(depth, large, inside))


def test_what_cannot_be_told_has_no_score() -> None:
    sky, whole = (0.0, 0.0, 1.0, 0.4), (0.0, 0.0, 1.0, 1.0)
    assert scores(room(LEFT), sky, LEFT)[0] is None
    assert scores(room(LEFT), whole)[0] is None
    assert scores(room(LEFT), LEFT, LEFT) == (None, None), "nobody knows whose it is"


def test_a_mask_says_where_in_the_box_to_look() -> None:
    tall = np.zeros((128, 128), bool)
    tall[58:102, 10:22] = True
    pole = Instance.model_validate({"prompt": "a pole", "box": LEFT, "mask": tall})
    layout = Layout(prompt="a pole", instances=(pole,))
    depth = room()
    depth[58:102, 10:22] = 0.8
    (score,) = presence_scores(layout, DepthMap(depth))
    assert score is not None
    assert score >= SEEN
    (unmasked,) = scores(depth, LEFT)
    assert unmasked is not None
    assert unmasked < SEEN


def test_a_layout_of_nothing_has_no_scores() -> None:
    assert presence_scores(layout_of(), DepthMap(room())) == ()


def test_a_large_map_of_many_boxes_takes_no_second() -> None:
    boxes = [(x / 20, y / 10, x / 20 + 0.04, y / 10 + 0.08) for x in range(20) for y in range(10)]
    depth = DepthMap(np.clip(room(*boxes[:8]), 0, 1)).resize(2048, 2048)
    start = time.process_time()
    presence_scores(layout_of(*boxes), depth)
    assert time.process_time() - start < 1.5


def test_what_is_missing_is_named_with_what_to_do() -> None:
    lines = missing_instances(layout_of(*BOXES), (0.02, None, 0.3), MADE)
    assert [line.partition(": ")[0] for line in lines] == [
        "instances[0] ('a thing') is likely missing",
        "instances[2] ('a thing') is likely missing",
    ]
    assert "nothing stands out in its box of the depth map (presence 0.02, expected" in lines[0]
    assert "much smaller or larger than the box (presence 0.30, expected" in lines[1]
    assert all(line.endswith(f"; {MADE}") for line in lines)


def test_a_map_with_more_instances_is_better_and_then_one_with_clearer_ones() -> None:
    assert rank((0.5, 0.5)) > rank((1.0, 0.4))
    assert rank((0.5, 0.9)) > rank((0.5, 0.6))
    assert rank((None, None)) == rank(())
