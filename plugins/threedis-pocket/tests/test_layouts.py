from __future__ import annotations

import pytest
import torch

from threedis_core.errors import LayoutError
from threedis_core.values.layout import Box, Instance, Layout
from threedis_pocket.layouts import layout_scene, sample_layouts, scene_layout
from threedis_pocket.scenes import sample_scenes


def one_instance(prompt: str, label: str | None = None) -> Layout:
    box = Box.from_xyxy((0.2, 0.3, 0.6, 0.8))
    return Layout(prompt="a thing", instances=(Instance(prompt=prompt, label=label, box=box),))


def test_a_scene_survives_the_way_to_a_layout_and_back() -> None:
    scenes = sample_scenes("validation", 16)
    for index in range(16):
        there = scenes.shapes[index] >= 0
        back = layout_scene(scene_layout(scenes, index))
        assert torch.equal(back.shapes[0], scenes.shapes[index][there])
        assert torch.equal(back.colours[0], scenes.colours[index][there])
        assert torch.allclose(back.boxes[0], scenes.boxes[index][there], atol=1e-4)


def test_the_label_decides_and_the_prompt_stands_in() -> None:
    assert layout_scene(one_instance("a shiny toy", "cone")).shapes.item() == 3
    assert layout_scene(one_instance("two red Spheres")).shapes.item() == 0


@pytest.mark.parametrize("prompt", ["a cat", "a cube on a sphere", "a spherical thing"])
def test_a_label_that_names_no_single_shape_is_refused(prompt: str) -> None:
    with pytest.raises(LayoutError, match=r"instances\[0\] .*expected one of sphere"):
        layout_scene(one_instance(prompt))


def test_sampled_layouts_hold_two_to_five_named_objects() -> None:
    layouts = sample_layouts("test", 64)
    counts = {len(layout.instances) for layout in layouts}
    assert counts <= {2, 3, 4, 5}
    assert len(counts) == 4
    assert all(i.prompt in layout.prompt for layout in layouts for i in layout.instances)
