"""The shape detector, on drawings whose shapes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from threedis_pocket.bench.shapes import VISIBLE, shape_at, visible_shares
from threedis_pocket.shapes import SHAPES
from threedis_pocket.wild import sample_wild, wild_size
from threedis_pocket.world import Scenes, draw


def drawn(scene: Scenes, height: int, width: int) -> np.ndarray:
    rgb = draw(scene, height, width).rgb[0]
    return (rgb * 255).round().byte().permute(1, 2, 0).numpy()


def told(scene: Scenes, picture: np.ndarray) -> list[tuple[str, str]]:
    """(what it is, what is told) of every object that can be seen."""
    height, width = picture.shape[:2]
    shares = visible_shares(scene, height, width)
    return [
        (SHAPES[int(scene.shapes[0, slot])], shape_at(picture, scene, slot, [tuple(box)]))  # type: ignore[arg-type]
        for slot, box in enumerate(scene.boxes[0].tolist())
        if int(scene.shapes[0, slot]) >= 0 and shares[slot] >= VISIBLE
    ]


def test_every_shape_of_exact_drawings_is_told() -> None:
    scenes = sample_wild("validation", 18)
    pairs = [
        pair
        for index in range(len(scenes))
        for pair in told(
            scenes[slice(index, index + 1)],
            drawn(scenes[slice(index, index + 1)], *wild_size(index)),
        )
    ]
    assert len(pairs) > 60
    assert sum(is_ == said for is_, said in pairs) >= 0.98 * len(pairs)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("side", [0.12, 0.4])
def test_what_is_drawn_is_told_whatever_was_asked_for(shape: int, side: float) -> None:
    box = (0.3, 0.8 - side, 0.3 + side, 0.8)
    asked = Scenes(
        torch.tensor([[box]]),
        torch.tensor([[(shape + 1) % len(SHAPES)]]),
        torch.zeros(1, 1, dtype=torch.long),
        torch.full((1, 4), 0.2),
    )
    picture = drawn(replace(asked, shapes=torch.tensor([[shape]])), 128, 160)
    assert shape_at(picture, asked, 0, [box]) == SHAPES[shape]


def test_a_darker_picture_changes_no_shape() -> None:
    scene = sample_wild("validation", 1)
    picture = drawn(scene, *wild_size(0))
    darker = (picture * 0.85).astype(np.uint8)
    assert told(scene, darker) == told(scene, picture)


def test_shares_say_how_much_others_hide() -> None:
    boxes = torch.tensor([[[0.1, 0.2, 0.5, 0.8], [0.1, 0.3, 0.5, 0.95], [0.7, 0.5, 0.9, 0.8]]])
    scene = Scenes(
        boxes, torch.tensor([[1, 1, 0]]), torch.tensor([[0, 1, 2]]), torch.full((1, 4), 0.5)
    )
    hidden, front, alone = visible_shares(scene, 128, 128)
    assert hidden < 0.4
    assert front > 0.95  # the other one stands a little before its edges
    assert alone == 1.0
