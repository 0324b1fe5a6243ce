"""Between layouts and scenes: objects as a person writes them, and as the camera sees them."""

from __future__ import annotations

import re

import torch

from threedis_core.errors import LayoutError
from threedis_core.values.layout import Box, Instance, Layout
from threedis_pocket.scenes import Split, join_phrases, phrase, sample_scenes
from threedis_pocket.shapes import SHAPES
from threedis_pocket.wild import sample_wild, wild_size
from threedis_pocket.world import COLOURS, Scenes

TEST_OVERLAP = 0.15  # so that every box is mostly visible: no picture can pass otherwise


def scene_layout(scenes: Scenes, index: int) -> Layout:
    """The layout of one scene: prompts "a red sphere", labels "sphere", every object named."""
    slots = (scenes.shapes[index] >= 0).nonzero().flatten().tolist()
    colours, shapes = scenes.colours[index].tolist(), scenes.shapes[index].tolist()
    phrases = [phrase(colours[slot], shapes[slot]) for slot in slots]
    instances = tuple(
        Instance(
            prompt=text,
            label=SHAPES[shapes[slot]],
            box=Box.from_xyxy([round(side, 4) for side in scenes.boxes[index, slot].tolist()]),
        )
        for slot, text in zip(slots, phrases, strict=True)
    )
    return Layout(prompt=join_phrases(phrases), instances=instances)


def sample_layouts(split: Split, count: int, start: int = 0) -> list[Layout]:
    """Layouts of a split, with two to five objects each; shapes repeat, colours do not."""
    scenes = sample_scenes(split, count, start, least=2, overlap=TEST_OVERLAP)
    return [scene_layout(scenes, index) for index in range(count)]


def wild_layouts(split: Split, count: int) -> list[Layout]:
    """Layouts as people draw them: one to eight objects, no labels, each with its own size."""
    scenes = sample_wild(split, count)
    layouts = []
    for index in range(count):
        layout = scene_layout(scenes, index)
        height, width = wild_size(index)
        bare = tuple(one.model_copy(update={"label": None}) for one in layout.instances)
        size = {"width": width, "height": height}
        layouts.append(layout.model_copy(update={"instances": bare, **size}))
    return layouts


def _named(text: str, names: tuple[str, ...]) -> int | None:
    """Index of the one name that the text contains as a word, singular or plural."""
    found = {i for i, name in enumerate(names) if re.search(rf"\b{name}s?\b", text.lower())}
    return found.pop() if len(found) == 1 else None


def shape_index(noun: str, number: int) -> int:
    """Index into SHAPES of instance ``number``, which is a ``noun``.

    Raises:
        LayoutError: The noun does not name exactly one pocket shape.
    """
    if (shape := _named(noun, SHAPES)) is None:
        raise LayoutError(
            f"instances[{number}] is {noun!r}, which names no single shape of the pocket world; "
            f"expected one of {', '.join(SHAPES)} in its label (or, without a label, its prompt). "
            "For other things give a depth picture or another depth model"
        )
    return shape


def colour_index(layout: Layout, number: int) -> int | None:
    """Index into COLOURS of the one colour that the prompt of instance ``number`` names."""
    return _named(layout.instances[number].prompt, COLOURS)


def layout_scene(layout: Layout) -> Scenes:
    """The scene (a batch of one) that a layout describes, colours included where it names them.

    Raises:
        LayoutError: A label names no pocket shape.
    """
    count = len(layout.instances)
    nouns = [instance.noun for instance in layout.instances]
    shapes = [shape_index(noun, number) for number, noun in enumerate(nouns)] or [-1]
    colours = [colour_index(layout, number) or 0 for number in range(count)] or [0]
    boxes = [instance.box.xyxy for instance in layout.instances] or [(0.0, 0.0, 1.0, 1.0)]
    return Scenes(
        torch.tensor([boxes]),
        torch.tensor([shapes]),
        torch.tensor([colours]),
        torch.full((1, 4), 0.5),
    )
