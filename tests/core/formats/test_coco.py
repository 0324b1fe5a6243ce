"""Layouts out of COCO annotations and COCO-MIG files."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from threedis_core.errors import LayoutError
from threedis_core.formats.coco import read_coco
from threedis_core.formats.coco_mig import read_coco_mig
from threedis_core.formats.layout_files import read_layout
from threedis_core.values.layout import Box

COCO: dict[str, Any] = {
    "images": [{"id": 7, "width": 20, "height": 10}, {"id": 9, "width": 8, "height": 8}],
    "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "traffic light"}],
    "annotations": [
        {
            "id": 100,
            "image_id": 7,
            "category_id": 1,
            "bbox": [2, 1, 8, 4],
            "iscrowd": 0,
            "segmentation": [[2, 1, 10, 1, 10, 5, 2, 5]],
        },
        {"id": 101, "image_id": 7, "category_id": 3, "bbox": [15, 5, 5.01, 5.01]},
        {"id": 102, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 103, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 8]},
        {"id": 104, "image_id": 7, "caption": "A dog waits at a traffic light."},
    ],
}


def coco_file(folder: Path, data: object = COCO) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    return path


def changed(index: int, **fields: object) -> dict[str, Any]:
    data = copy.deepcopy(COCO)
    data["annotations"][index] |= fields
    return data


def test_a_picture_becomes_a_layout(tmp_path: Path) -> None:
    layout = read_coco(coco_file(tmp_path), 7)
    assert (layout.width, layout.height, layout.id) == (20, 10, "7")
    assert layout.prompt == "A dog waits at a traffic light."
    dog, light = layout.instances
    assert (dog.prompt, dog.label) == ("dog", "dog")
    assert dog.box == Box.from_xyxy((0.1, 0.1, 0.5, 0.5))
    assert light.box == Box.from_xyxy((0.75, 0.5, 1, 1))
    assert light.mask is None


def test_a_polygon_becomes_the_pixels_inside_it(tmp_path: Path) -> None:
    mask = read_coco(coco_file(tmp_path), 7).instances[0].mask
    expected = np.zeros((10, 20), dtype=bool)
    expected[1:5, 2:10] = True
    assert mask is not None
    assert (mask.decode() == expected).all()


def test_a_triangle_covers_about_half_of_its_square(tmp_path: Path) -> None:
    data = changed(0, segmentation=[[0, 0, 10, 0, 0, 10]])
    mask = read_coco(coco_file(tmp_path, data), 7).instances[0].mask
    assert mask is not None
    assert mask.decode().sum() == pytest.approx(50, abs=6)


def test_a_run_length_code_becomes_the_mask(tmp_path: Path) -> None:
    data = changed(0, segmentation={"size": [10, 20], "counts": [50, 30, 120]})
    mask = read_coco(coco_file(tmp_path, data), 7).instances[0].mask
    assert mask is not None
    assert (mask.decode().sum(axis=0) == [10 if 5 <= x < 8 else 0 for x in range(20)]).all()


def test_a_polygon_thinner_than_a_pixel_leaves_the_box(tmp_path: Path) -> None:
    data = changed(0, segmentation=[[20, 10, 20, 10, 20, 10]])
    instance = read_coco(coco_file(tmp_path, data), 7).instances[0]
    assert instance.box == Box.from_xyxy((0.1, 0.1, 0.5, 0.5))


def test_without_captions_the_prompt_names_what_is_there(tmp_path: Path) -> None:
    assert read_coco(coco_file(tmp_path), 9).prompt == "traffic light"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "no list 'images'; expected a COCO annotation file"),
        (COCO | {"annotations": [3]}, "annotations[0]: got 3; expected an object"),
        (COCO | {"categories": []}, "annotation 100: category_id 1 is not in 'categories'"),
        (COCO | {"categories": [{"id": [1]}]}, "categories[0]: id [1]; expected a whole number"),
        ({"prompt": "a"}, "if it is a layout file, leave --image-id out"),
        (COCO | {"images": [{"id": 7}]}, "picture 7: width None, height None"),
        (COCO | {"annotations": []}, "has neither captions nor annotated objects"),
        (COCO | {"images": []}, "no picture with id 7; the file has 0, such as none"),
        (changed(0, bbox=[1, 2, 3]), "annotation 100 ('dog'): bbox is [1, 2, 3]; expected four"),
        (changed(0, bbox=[1, 2, 0, 3]), "expected a positive width and height"),
        (changed(0, bbox=[30, 2, 4, 3]), "some of it inside the picture of 20x10 pixels"),
        (changed(0, bbox=[1, 2, float("nan"), 3]), "expected four numbers"),
        (changed(0, segmentation=[[1, 2, 3]]), "expected x, y, x, y, ... of at least three"),
        (changed(0, segmentation="abc"), "expected polygons or a code"),
        (changed(0, segmentation={"size": [2, 2], "counts": [0, 4]}), "2x2 pixels; expected 20x10"),
        (changed(0, segmentation={"size": [2, 2], "counts": [1]}), "sum to 1; expected"),
        (changed(0, category_id=[1]), "category_id [1] is not in 'categories'"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, data: object, said: str) -> None:
    path = coco_file(tmp_path, data)
    with pytest.raises(LayoutError) as caught:
        read_coco(path, 7)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_an_unknown_picture_gets_some_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no picture with id 8; the file has 2, such as 7, 9"):
        read_coco(coco_file(tmp_path), 8)


def test_of_a_large_file_only_one_picture_is_kept_in_memory(tmp_path: Path) -> None:
    corners = [0.5 + place / 7 for place in range(60)]
    others = [
        {"id": number, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 8]}
        | {"segmentation": [corners]}
        for number in range(3000)
    ]
    expected = read_coco(coco_file(tmp_path), 7)
    path = coco_file(tmp_path, COCO | {"annotations": [*others, *COCO["annotations"]]})
    tracemalloc.start()
    try:
        found = read_coco(path, 7)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == expected
    assert peak < 2.5 * path.stat().st_size  # its bytes and its text, and little more


def test_what_only_looks_like_an_annotation_stays(tmp_path: Path) -> None:
    images = [image | {"image_id": 1} for image in COCO["images"]]
    assert read_coco(coco_file(tmp_path, COCO | {"images": images}), 7).width == 20


@pytest.mark.parametrize("image_id", ["7", 7.0, True, [7]])
def test_an_id_of_another_type_is_told_so(tmp_path: Path, image_id: Any) -> None:
    for path in (coco_file(tmp_path), mig_file(tmp_path)):
        with pytest.raises(LayoutError, match=r"image_id is .*; expected a whole number") as caught:
            read_layout(path, image_id)
        assert caught.value.path == "image_id"
    assert read_coco(coco_file(tmp_path), np.int64(7)).id == "7"


MIG = """
"a black apple on the table, and two dogs":
  coco_id: 1234
  a black apple: [[0.1, 0.2, 0.4, 0.5]]
  a brown teddy bear:
    - [0.5, 0.1, 0.9, 0.4]
    - [0.5, 0.5, 0.9, 0.9]
a quiet street:
  coco_id: "77"
  a red car: [[0, 0, 1, 1]]
"""


def mig_file(folder: Path, text: str = MIG) -> Path:
    path = folder / "mig.yaml"
    path.write_text(text)
    return path


def test_every_mig_entry_becomes_a_layout(tmp_path: Path) -> None:
    first, second = read_coco_mig(mig_file(tmp_path))
    assert first.prompt == "a black apple on the table, and two dogs"
    assert (first.id, second.id) == ("1234", "77")
    assert [(i.prompt, i.label) for i in first.instances] == [
        ("a black apple", "apple"),
        ("a brown teddy bear", "teddy bear"),
        ("a brown teddy bear", "teddy bear"),
    ]
    assert first.instances[2].box == Box.from_xyxy((0.5, 0.5, 0.9, 0.9))


def test_mig_layouts_come_one_by_one(tmp_path: Path) -> None:
    layouts = read_coco_mig(mig_file(tmp_path, MIG + "broken: 3\n"))
    assert isinstance(layouts, Iterator)
    assert [next(layouts).id, next(layouts).id] == ["1234", "77"]
    with pytest.raises(LayoutError, match="entry 'broken': got 3; expected coco_id and"):
        next(layouts)


def test_a_mig_label_has_none_of_the_phrases_colours(tmp_path: Path) -> None:
    phrases = ["a cyan cone", "an oven", "two dark-red cups", "an orange", "white"]
    text = "a street:\n" + "".join(f"  {one}: [[0, 0, 1, 1]]\n" for one in phrases)
    (layout,) = read_coco_mig(mig_file(tmp_path, text))
    assert [one.label for one in layout.instances] == ["cone", "oven", "cups", "orange", "white"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected a mapping (key: value) at the top level"),
        ("a street:\n  a red car: 3", "entry 'a street', 'a red car': got 3; expected a phrase"),
        ("a street:\n  a red car: [[0, 0, 2, 1]]", "[0] ('a red car').box.x1: got 2; expected"),
        ("a street: {}\na street: {}", "line 2: the key 'a street' appears twice"),
        ("3:\n  a car: []", "entry 3: prompt: got 3; expected text"),
        ("prompt: a street", "this looks like one layout (it has 'prompt')"),
        ("version: 1\nprompt: a", "leave --image-id out"),
        ("a: &x {}\nb: *x", "anchors"),
    ],
)
def test_wrong_mig_entries_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = mig_file(tmp_path, text)
    with pytest.raises(LayoutError) as caught:
        list(read_coco_mig(path))
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_mig_layout_is_chosen_by_its_id_where_the_file_has_ids(tmp_path: Path) -> None:
    path = mig_file(tmp_path)
    assert read_layout(path, 1234).instances[0].label == "apple"
    assert read_layout(path, 77).prompt == "a quiet street"
    said = r"no layout with coco_id 1; it has 2 layouts, with ids such as 1234, 77$"
    with pytest.raises(LayoutError, match=said) as caught:
        read_layout(path, 1)
    assert (caught.value.code, caught.value.file) == ("image-id-unknown", str(path))


def test_a_mig_layout_is_chosen_by_its_place_where_the_file_has_no_ids(tmp_path: Path) -> None:
    path = mig_file(tmp_path, "a street:\n  a car: [[0, 0, 1, 1]]\na lawn:\n  a dog: []\n")
    assert [read_layout(path, place).prompt for place in (0, 1)] == ["a street", "a lawn"]
    said = r"no layout number 2; it has 2 layouts without ids, the first one is number 0$"
    with pytest.raises(LayoutError, match=said):
        read_layout(path, 2)
