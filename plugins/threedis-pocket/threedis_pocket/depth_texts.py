"""The words that pocket-depth reads, at work and in its training: bare shapes, no colours."""

from __future__ import annotations

from threedis_core.errors import LayoutError
from threedis_core.values.layout import Instance, Layout
from threedis_core.values.problems import shown
from threedis_pocket.layouts import shape_index
from threedis_pocket.scenes import join_phrases
from threedis_pocket.shapes import SHAPES


def depth_layout(layout: Layout) -> Layout:
    """``layout`` in the words of the depth stage.

    The label of an instance is one word of SHAPES: "sphere" for "a red sphere", "Spheres" or "two
    dark-red spheres". The prompt names all of them in order, "a sphere, a cube and a sphere"; what
    a person wrote there speaks of colours and moods, which have no depth. A layout without
    instances keeps its prompt.

    Raises:
        LayoutError: See ``named_shape``.
    """
    shapes = [named_shape(one, number) for number, one in enumerate(layout.instances)]
    if not shapes:
        return layout
    instances = tuple(
        instance.model_copy(update={"label": shape})
        for instance, shape in zip(layout.instances, shapes, strict=True)
    )
    prompt = join_phrases([f"a {shape}" for shape in shapes])
    return layout.model_copy(update={"prompt": prompt, "instances": instances})


def named_shape(instance: Instance, number: int) -> str:
    """The shape that instance ``number`` of a layout is.

    Raises:
        LayoutError: Its label (or, without one, its prompt) names none or several, or its prompt
            names another one than its label.
    """
    shape = SHAPES[shape_index(instance.noun, number)]
    if instance.label is None:
        return shape
    try:
        other = SHAPES[shape_index(instance.prompt, number)]
    except LayoutError:  # the label alone says it
        return shape
    if other != shape:
        raise LayoutError(
            f"instances[{number}] has the label {shown(instance.label)}, but its prompt is "
            f"{shown(instance.prompt)}: a {shape} or a {other}? Correct one of them, or leave the "
            "label out"
        )
    return shape
