from __future__ import annotations

import pytest
import torch

import threedis_pocket
from threedis_pocket.scenes import sample_scenes
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, Scenes, draw, floor_depth


def one_object(kind: int, box: tuple[float, float, float, float]) -> Scenes:
    return Scenes(
        torch.tensor([[box]]), torch.tensor([[kind]]), torch.tensor([[0]]), torch.full((1, 4), 0.5)
    )


@pytest.mark.parametrize("kind", range(len(SHAPES)), ids=SHAPES)
@pytest.mark.parametrize("size", [(128, 128), (96, 160)], ids=["square", "wide"])
def test_an_object_fills_its_box(kind: int, size: tuple[int, int]) -> None:
    box = (0.25, 0.30, 0.65, 0.90)
    seen = draw(one_object(kind, box), *size, supersample=1).ids[0] == 0
    rows, columns = (seen.any(axis).nonzero().flatten() for axis in (1, 0))
    found = [columns[0] / size[1], rows[0] / size[0]]
    found += [(columns[-1] + 1) / size[1], (rows[-1] + 1) / size[0]]
    # A cone ends in a point, of which up to three rows fall between pixel centres.
    slack = [1.01 / size[1], 3.01 / size[0]] * 2
    assert all(abs(f - b) <= s for f, b, s in zip(found, box, slack, strict=True))


def test_depth_is_in_range_and_the_floor_comes_nearer_downwards() -> None:
    drawing = draw(sample_scenes("validation", 8))
    assert drawing.depth.min() >= 0
    assert drawing.depth.max() <= 1
    rows = floor_depth(torch.linspace(0, 1, 50))
    assert (rows.diff() >= 0).all()
    assert torch.equal(drawing.ids >= 0, drawing.depth != floor_depth_map(8))


def floor_depth_map(count: int) -> torch.Tensor:
    rows = floor_depth((torch.arange(128) + 0.5) / 128)
    return rows[None, :, None].expand(count, 128, 128)


def test_the_lower_of_two_overlapping_boxes_is_in_front() -> None:
    boxes = torch.tensor([[[0.3, 0.3, 0.6, 0.7], [0.35, 0.4, 0.65, 0.9]]])
    two = torch.tensor([[1, 1]])
    drawing = draw(Scenes(boxes, two, torch.tensor([[0, 1]]), torch.full((1, 4), 0.5)))
    overlap = drawing.ids[0, 70:85, 50:70]
    assert (overlap == 1).all()


def test_depth_and_ids_do_not_depend_on_supersampling() -> None:
    scenes = sample_scenes("validation", 3)
    plain, fine = draw(scenes, supersample=1), draw(scenes, supersample=2)
    assert torch.equal(plain.depth, fine.depth)
    assert torch.equal(plain.ids, fine.ids)


def test_a_scene_is_drawn_the_same_alone_and_among_others() -> None:
    scenes = sample_scenes("validation", 9)
    assert torch.equal(draw(scenes).rgb[7], draw(scenes[slice(7, 8)]).rgb[0])


def test_the_presets_name_the_colours_of_the_world() -> None:
    assert threedis_pocket.COLOURS == COLOURS
