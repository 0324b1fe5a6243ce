"""Layout, Instance and Box as values."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from threedis_core.errors import LayoutError
from threedis_core.values.layout import Box, Layout
from threedis_core.values.masks.mask import Mask
from threedis_core.values.problems import shown

CUBE = {"prompt": "a red cube", "box": [0.1, 0.2, 0.5, 0.6]}


def layout_with(**instance: object) -> dict[str, object]:
    return {"prompt": "a room", "instances": [CUBE, CUBE | instance]}


fractions = st.floats(0, 1)
boxes = (
    st.tuples(fractions, fractions, fractions, fractions)
    .map(lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])))
    .filter(lambda v: v[0] < v[2] and v[1] < v[3])
    .map(Box.from_xyxy)
)


def test_a_box_reads_and_writes_as_a_list() -> None:
    layout = Layout.from_dict(layout_with())
    assert layout.instances[0].box == Box(x0=0.1, y0=0.2, x1=0.5, y1=0.6)
    assert layout.to_dict()["instances"][0]["box"] == [0.1, 0.2, 0.5, 0.6]


def test_a_box_takes_numbers_of_numpy() -> None:
    values = np.array([0, 0.25, 0.5, 1], dtype=np.float32)
    assert Box.from_xyxy(values).xyxy == (0, 0.25, 0.5, 1)
    assert Box.from_xyxy(list(values)).xyxy == (0, 0.25, 0.5, 1)


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(one: Box, other: Box) -> None:
    assert one.iou(other) == other.iou(one)
    assert 0 <= one.iou(other) <= 1
    assert math.isclose(one.iou(one), 1)


def test_iou_of_half_overlapping_boxes_is_a_third() -> None:
    one, other = Box.from_xyxy((0, 0, 0.5, 1)), Box.from_xyxy((0.25, 0, 0.75, 1))
    assert math.isclose(one.iou(other), 1 / 3)
    assert math.isclose(one.area, 0.5)
    assert one.iou(Box.from_xyxy((0.6, 0, 0.7, 1))) == 0


def test_values_are_frozen_equal_and_hashable() -> None:
    one = Layout.from_dict(layout_with(mask=np.eye(4)))
    other = Layout.from_dict(layout_with(mask=np.eye(4)))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(ValueError, match="frozen"):
        one.prompt = "other"  # type: ignore[misc]


def test_a_layout_may_have_no_instances() -> None:
    assert Layout(prompt="an empty room").instances == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (layout_with(box=[0.7, 0, 0.3, 1]), "instances[1] ('a red cube').box: x0 = 0.7 and x1"),
        (layout_with(box=[0, 0.5, 1, 0.5]), "instances[1] ('a red cube').box: y0 = 0.5 and y1"),
        (layout_with(box=[0, 0, 1, 1.5]), "instances[1] ('a red cube').box.y1: got 1.5; expected"),
        (layout_with(box=[0, -0.1, 1, 1]), "box.y0: got -0.1; expected a number from 0 to 1"),
        (layout_with(box=[0, 0, math.nan, 1]), "box.x1: got nan; expected a number from 0 to 1"),
        (layout_with(box=[0, 0, math.inf, 1]), "box.x1: got inf; expected a number"),
        (layout_with(box=[0, 0, True, 1]), "box.x1: got True; expected a number"),
        (layout_with(box=[0, 0, 10**400, 1]), "box.x1: got a huge number; expected a number"),
        (layout_with(box=["0", 0, 1, 1]), "box.x0: got '0'; expected a number"),
        (layout_with(box=[0, 0, 1]), "box: got [0, 0, 1]; expected four numbers"),
        (layout_with(box=None), "box: got None; expected four numbers"),
        (layout_with(prompt=""), "instances[1].prompt: got ''; expected text that is not blank"),
        (layout_with(prompt=" \u200b\n"), "expected text that is not blank"),
        (layout_with(prompt=7), "instances[1].prompt: got 7; expected text"),
        (layout_with(prompt="x" * 10_001), "prompt: got 'xxx"),
        (layout_with(prompt="a\x00b"), "has the control character '\\x00'"),
        (layout_with(prompt="\ud800"), "instances[1] ('\\ud800').prompt: got"),
        (layout_with(label=" "), "instances[1] ('a red cube').label: got ' '"),
        (layout_with(promt="x"), "unknown field 'promt'; known are prompt, box"),
        (layout_with(promt="x"), "Did you mean 'prompt'?"),
        (layout_with(depth_order=-1), "depth_order: got -1; expected a whole number from 0"),
        (layout_with(depth_order=0.5), "depth_order: got 0.5; expected a whole number from 0"),
        (layout_with(mask=5), "mask: got 5; expected the path of a PNG file or a COCO"),
        (layout_with(mask={"size": [2, 2], "counts": [1, 2]}), "sum to 3; expected height * width"),
        ({"prompt": "a", "instances": [{"prompt": "b"}]}, "[0] ('b').box: is missing; expected"),
        (
            {"prompt": "a", "instances": ["b"]},
            "instances[0]: got 'b'; expected a mapping of prompt",
        ),
        ({"prompt": "a", "instances": {"b": 1}}, "instances: got a mapping; expected a list"),
        ({"prompt": "a", "instances": [CUBE] * 10_000}, "got 10000 instances; expected at most"),
        ({"prompt": "a", "version": 2}, "version: got 2; expected 1, the one this ThreeDIS reads"),
        ({"prompt": "a", "version": "1"}, "version: got '1'; expected 1"),
        ({"prompt": "a", "width": 0, "height": 8}, "width: got 0; expected a whole number of"),
        ({"prompt": "a", "width": 8, "height": 16385}, "height: got 16385; expected"),
        ({"prompt": "a", "width": 8}, "width and height belong together"),
        ({"instances": []}, "prompt: is missing; expected text"),
        ({"prompt": "a", 3: 4}, "the key 3 is no text; quote it"),
        ([], "got a list; expected a mapping"),
        (None, "got nothing; expected a mapping"),
    ],
)
def test_a_wrong_layout_gets_one_line_that_names_the_place(data: object, said: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_further_problems_are_counted() -> None:
    data = {"prompt": "", "instances": [{"prompt": "", "box": [0, 0, 1, 1]}], "version": 3}
    with pytest.raises(LayoutError, match=r"\(and 2 more problems\)$"):
        Layout.from_dict(data)
    del data["version"]
    with pytest.raises(LayoutError, match=r"\(and 1 more problem\)$"):
        Layout.from_dict(data)


def test_constructors_raise_the_same_errors() -> None:
    with pytest.raises(LayoutError, match="not blank"):
        Layout(prompt="")
    with pytest.raises(LayoutError, match="x0 = 1 and x1 = 0"):
        Box(x0=1, y0=0, x1=0, y1=1)
    with pytest.raises(LayoutError, match="expected four numbers"):
        Box.from_xyxy((0, 1))


def test_masks_must_have_the_size_of_the_layout() -> None:
    data = layout_with(mask=np.eye(4)) | {"width": 8, "height": 4}
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict(data)
    assert "instances[1] ('a red cube').mask: it is 4x4 pixels; expected 8x4 like the layout" in (
        str(caught.value)
    )


def test_masks_must_have_one_size_when_the_layout_has_none() -> None:
    instances = [CUBE | {"mask": np.eye(4)}, CUBE, CUBE | {"mask": np.ones((4, 6))}]
    with pytest.raises(LayoutError, match=r"it is 6x4 pixels; expected 4x4 like the mask of inst"):
        Layout.from_dict({"prompt": "a", "instances": instances})


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
almost = st.fixed_dictionaries(
    {"prompt": st.text(max_size=3) | junk},
    optional={
        "version": st.just(1) | junk,
        "width": junk,
        "instances": st.lists(
            st.fixed_dictionaries(
                {"prompt": st.text(max_size=3), "box": st.lists(junk, min_size=4, max_size=4)},
                optional={"mask": junk, "label": junk, "depth_order": junk},
            )
            | junk,
            max_size=3,
        ),
    },
)


@given(junk | almost)
def test_junk_gives_a_layout_or_a_layout_error(data: object) -> None:
    with suppress(LayoutError):
        assert isinstance(Layout.from_dict(data), Layout)


def test_a_mask_may_be_given_as_a_mask_a_code_or_an_array() -> None:
    pixels = np.array([[0, 1], [1, 1]], dtype=bool)
    mask = Mask.encode(pixels)
    for given_mask in (mask, pixels, {"size": [2, 2], "counts": [1, 3]}):
        layout = Layout.from_dict(layout_with(mask=given_mask))
        assert layout.instances[1].mask == mask


def test_importing_the_values_imports_no_model_code() -> None:
    code = (
        "import sys, threedis_core.formats.coco, threedis_core.values.regions;"
        "print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def masked(count: int, mask: object) -> dict[str, object]:
    return {"prompt": "a room", "instances": [CUBE | {"mask": mask}] * count}


def test_masks_that_would_fill_the_memory_together_are_refused() -> None:
    corner = Mask(size=(8192, 8192), counts=[0, 1, 2**26 - 1])
    assert len(Layout.from_dict(masked(8, corner)).instances) == 8
    with pytest.raises(LayoutError, match="all masks have 603979776 pixels or more together"):
        Layout.from_dict(masked(9, corner))


def test_masks_of_long_codes_are_refused_because_no_file_could_hold_them() -> None:
    noise = Mask.encode(np.random.default_rng(0).random((1000, 1000)) < 0.5)
    with pytest.raises(LayoutError, match=r"the codes of .* masks have .* letters together"):
        Layout.from_dict(masked(30, noise))


def test_after_one_mask_that_cannot_be_read_no_other_is_tried(tmp_path: Path) -> None:
    Image.new("L", (8192, 8192), 255).save(tmp_path / "large.png")
    with pytest.raises(LayoutError, match="all masks have 603979776 pixels or more") as caught:
        Layout.from_dict(masked(1000, "large.png"), tmp_path)
    assert "instances[8]" in str(caught.value)
    assert "more problem" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "\x1b[31m" * 1000,
        "\ud800\u202e\n",
        [10**5000],
        [[[[[["x" * 99] * 9] * 9] * 9] * 9] * 9] * 9,
        {"a": 1},
        10**5000,
        {1, 2},
        object(),
        b"\xff" * 9999,
        np.zeros((99, 99)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_shown_short_and_printable(value: object) -> None:
    assert shown(value).isprintable()
    assert len(shown(value)) <= 120


@pytest.mark.parametrize(
    "name", ["evil\x1b[31m.png", "a\0b.png", "\ud800.png", "~nosuchuser/a.png", "x" * 999]
)
def test_a_mask_path_that_makes_no_sense_is_one_printable_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict(masked(1, name), tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_thousand_long_prompts_are_checked_and_a_wrong_name_of_any_length_is_one_line() -> None:
    long = [CUBE | {"prompt": "word " * 2000}] * 1000
    assert len(Layout.from_dict({"prompt": "a", "instances": long}).instances) == 1000
    with pytest.raises(LayoutError, match="unknown field 'ppp") as caught:
        Layout.from_dict({"prompt": "a", "p" * 1_000_000: 1})
    assert len(str(caught.value)) < 400


def test_an_instance_names_loras_by_name_or_with_a_weight() -> None:
    layout = Layout.from_dict(layout_with(loras=["gold", {"name": "worn", "weight": 0.5}]))
    names = [(one.name, one.weight) for one in layout.instances[1].loras or ()]
    assert names == [("gold", 1.0), ("worn", 0.5)]
    assert Layout.from_dict(layout.to_dict()) == layout
    assert "loras" not in layout.to_dict()["instances"][0]
    for wrong in (["gold", 3], "gold", [{"name": ""}], [{"name": "a", "weight": math.inf}]):
        with pytest.raises(LayoutError, match=r"instances\[1\].*loras"):
            Layout.from_dict(layout_with(loras=wrong))
