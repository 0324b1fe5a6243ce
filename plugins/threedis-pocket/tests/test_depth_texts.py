from __future__ import annotations

import numpy as np
import pytest

from threedis_core.errors import LayoutError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import plan_run
from threedis_core.values.layout import Box, Instance, Layout
from threedis_pocket.depth_texts import depth_layout

LEFT, RIGHT = Box.from_xyxy((0.05, 0.4, 0.45, 0.85)), Box.from_xyxy((0.55, 0.4, 0.95, 0.85))


def two(*things: tuple[str, str | None], prompt: str = "a room") -> Layout:
    boxes = (LEFT, RIGHT)
    instances = [
        Instance(prompt=p, label=n, box=b) for (p, n), b in zip(things, boxes, strict=True)
    ]
    return Layout(prompt=prompt, instances=tuple(instances))


@pytest.mark.parametrize(
    "layout",
    [
        two(("a red sphere", "sphere"), ("a blue cube", "cube")),
        two(("a red sphere", None), ("a cyan cube", None), prompt="toys at dawn, watercolour"),
        two(("Spheres", "two dark-red spheres"), ("something", "a pale CUBE")),
    ],
)
def test_the_model_reads_bare_shapes_whatever_is_written(layout: Layout) -> None:
    read = depth_layout(layout)
    assert read.prompt == "a sphere and a cube"
    assert [one.noun for one in read.instances] == ["sphere", "cube"]
    assert [one.box for one in read.instances] == [LEFT, RIGHT]


def test_a_layout_of_nothing_keeps_its_prompt() -> None:
    assert depth_layout(Layout(prompt="an empty room")).prompt == "an empty room"


@pytest.mark.parametrize("name", ["pocket-depth", "pocket-scene"])
@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (("a red sphere", "cube"), "label 'cube', but its prompt is 'a red sphere'"),
        (("a red sphere", "cat"), r"instances\[1\] is 'cat', which names no single shape"),
        (("a red cat", None), r"instances\[1\] is 'cat', which names no single shape"),
        (("a cube on a cone", None), r"instances\[1\] is 'cube on a cone', which names no single"),
    ],
)
def test_what_it_cannot_draw_is_said_before_anything_loads(
    thing: tuple[str, str | None], name: str, said: str
) -> None:
    config = RunConfig.model_validate({"depth_model": name})
    with pytest.raises(LayoutError, match=said):
        plan_run(config, load_plugins(), two(("a cone", None), thing))


def test_colours_and_labels_left_out_give_the_same_map() -> None:
    model = load_plugins().depth_model("pocket-depth", {"steps": 2})
    labelled = two(("a red sphere", "sphere"), ("a blue cube", "cube"), prompt="a red sphere")
    bare = two(("a sphere", None), ("a crimson cube", None))
    one, other = (model.generate([DepthRequest(some, 0, 64, 64)])[0] for some in (labelled, bare))
    assert np.array_equal(one.values, other.values)
