from __future__ import annotations

import torch

from threedis_pocket.scenes import join_phrases, phrase, sample_scenes
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS


def test_a_scene_depends_on_its_split_and_number_alone() -> None:
    many, few = sample_scenes("test", 200), sample_scenes("test", 3, start=150)
    assert torch.equal(many.boxes[150:153], few.boxes)
    assert torch.equal(many.colours[150:153], few.colours)


def test_splits_share_no_scene() -> None:
    seen = {
        split: {tuple(b.flatten().tolist()) for b in sample_scenes(split, 256).boxes}
        for split in ("train", "validation", "test")
    }
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_colours_never_repeat_within_a_scene_and_shapes_do() -> None:
    scenes = sample_scenes("train", 256)
    repeated = 0
    for shapes, colours in zip(scenes.shapes.tolist(), scenes.colours.tolist(), strict=True):
        used = [c for s, c in zip(shapes, colours, strict=True) if s >= 0]
        kinds = [s for s in shapes if s >= 0]
        assert len(set(used)) == len(used)
        repeated += len(set(kinds)) < len(kinds)
    assert repeated > 64


def test_boxes_lie_in_the_picture_and_overlap_little() -> None:
    scenes = sample_scenes("test", 256, overlap=0.15)
    for boxes, shapes in zip(scenes.boxes, scenes.shapes, strict=True):
        own = boxes[shapes >= 0]
        assert ((own >= 0) & (own <= 1)).all()
        assert (own[:, 2:] > own[:, :2]).all()
        for i, one in enumerate(own):
            for other in own[i + 1 :]:
                low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
                shared = (high - low).clamp_min(0).prod()
                areas = [(b[2:] - b[:2]).prod() for b in (one, other)]
                assert shared <= 0.15 * min(areas) + 1e-6


def test_phrases_read_like_english() -> None:
    orange = phrase(COLOURS.index("orange"), SHAPES.index("cube"))
    red = phrase(COLOURS.index("red"), SHAPES.index("cone"))
    assert orange == "an orange cube"
    assert join_phrases([orange]) == "an orange cube"
    assert join_phrases([orange, red, orange]) == "an orange cube, a red cone and an orange cube"
