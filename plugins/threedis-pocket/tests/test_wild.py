"""Wild layouts: what they may be, and that no two splits share one."""

from __future__ import annotations

import torch

from threedis_pocket.layouts import colour_index, layout_scene, wild_layouts
from threedis_pocket.scenes import overlap_of
from threedis_pocket.wild import (
    LARGEST_SIDE,
    MOST_OBJECTS,
    MOST_OVERLAP,
    SIZES,
    SMALLEST_SIDE,
    sample_wild,
    wild_size,
)


def test_boxes_keep_to_what_is_promised() -> None:
    scenes = sample_wild("validation", 192)
    there = scenes.shapes >= 0
    sides = (scenes.boxes[..., 2:] - scenes.boxes[..., :2])[there]
    assert sides.min() >= SMALLEST_SIDE - 1e-6
    assert sides.max() <= LARGEST_SIDE + 1e-6
    assert sides.min() < 0.12
    assert sides.max() > 0.6
    boxes = scenes.boxes[there]
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert set(there.sum(1).tolist()) == set(range(1, MOST_OBJECTS + 1))


def test_no_box_covers_more_than_half_of_another() -> None:
    scenes = sample_wild("validation", 64)
    for boxes, shapes in zip(scenes.boxes, scenes.shapes, strict=True):
        some = boxes[shapes >= 0]
        pairs = overlap_of(some[None, :, None], some[None, None])[0]
        pairs.fill_diagonal_(0)
        assert pairs.max() <= MOST_OVERLAP + 1e-6


def test_a_scene_depends_on_its_split_and_number_alone() -> None:
    whole, part = sample_wild("test", 80), sample_wild("test", 10, start=70)
    assert torch.equal(whole.boxes[70:], part.boxes)
    assert torch.equal(whole.colours[70:], part.colours)
    seen = {tuple(one.flatten().tolist()) for one in whole.boxes}
    for split in ("train", "validation"):
        others = {tuple(one.flatten().tolist()) for one in sample_wild(split, 80).boxes}
        assert not seen & others


def test_colours_repeat_in_training_alone() -> None:
    def repeats(split: str) -> float:
        scenes = sample_wild(split, 128)  # type: ignore[arg-type]
        many = [
            colours[shapes >= 0].tolist()
            for colours, shapes in zip(scenes.colours, scenes.shapes, strict=True)
        ]
        return sum(len(set(one)) < len(one) for one in many) / len(many)

    assert repeats("test") == repeats("validation") == 0
    assert 0.2 < repeats("train") < 0.6


def test_wild_layouts_have_sizes_and_no_labels_and_say_the_scene() -> None:
    layouts, scenes = wild_layouts("validation", 20), sample_wild("validation", 20)
    assert {(one.height, one.width) for one in layouts} == set(SIZES)
    for index, layout in enumerate(layouts):
        assert (layout.height, layout.width) == wild_size(index)
        assert all(instance.label is None for instance in layout.instances)
        scene, there = layout_scene(layout), scenes.shapes[index] >= 0
        assert torch.equal(scene.shapes[0], scenes.shapes[index][there])
        colours = [colour_index(layout, number) for number in range(len(layout.instances))]
        assert colours == scenes.colours[index][there].tolist()
