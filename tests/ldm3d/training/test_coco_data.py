"""Training data in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threedis_core.errors import DataError
from threedis_core.values.layout import Box
from threedis_ldm3d.training.examples import CocoData, FoundExamples, read_examples


def box(number: int, image: int, bbox: list[float], category: int = 1, **more: Any) -> Any:
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}


def instances() -> dict[str, Any]:
    """Pictures of 100x50 pixels; the names of those that are not there begin with "no"."""
    names = ["park", "crowd", "no-file", "outside", "blank", "lost", "empty", "many"]
    return {
        "images": [
            {"id": number, "width": 100, "height": 50, "file_name": f"{name}.png"}
            for number, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "kite"}],
        "annotations": [
            box(10, 0, [0, 0, 50, 25]),
            box(11, 0, [80, 40, 30, 30], category=3),  # cut at the picture's edges
            box(12, 0, [0, 0, 9, 11]),  # 0.0198 of the picture
            box(13, 1, [0, 0, 60, 50], iscrowd=1),
            box(14, 1, [20, 0, 60, 50]),
            box(15, 2, [0, 0, 60, 50]),
            box(16, 3, [0, 0, 60, 50]),
            box(17, 3, [120, 10, 30, 30]),
            box(18, 4, [0, 0, 60, 50]),
            box(19, 5, [0, 0, 60, 50], category=2),
            *(box(20 + i, 7, [0, 0, 50 + i % 5, 25]) for i in range(9)),
        ],
    }


def captions(blank: int = 4) -> dict[str, Any]:
    texts = {i: f"caption {i}" for i in range(8)} | {blank: " \n"}
    records = [{"id": i, "image_id": i, "caption": text} for i, text in texts.items()]
    second = {"id": 50, "image_id": 0, "caption": "another one"}
    return {"images": [], "annotations": [*records, second]}


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., FoundExamples]:
    """Write a data set and read it."""

    def read(document: Any = None, captioned: bool = True, **options: Any) -> FoundExamples:
        document = instances() if document is None else document
        (tmp_path / "instances.json").write_text(json.dumps(document))
        (tmp_path / "captions.json").write_text(json.dumps(captions()))
        for image in document.get("images", []):
            if not str(image.get("file_name")).startswith("no"):
                (tmp_path / str(image.get("file_name"))).write_bytes(b"opened later")
        data = CocoData(
            format="coco",
            images=tmp_path,
            annotations=tmp_path / "instances.json",
            captions=tmp_path / "captions.json" if captioned else None,
            **options,
        )
        return read_examples(data)

    return read


def kinds(found: FoundExamples) -> dict[str, str]:
    return {example.name: example.kind for example in found.bad}


def test_a_picture_becomes_an_example(coco: Callable[..., FoundExamples], tmp_path: Path) -> None:
    example = coco().examples[0]
    assert (example.name, example.image, example.depth) == ("0", tmp_path / "park.png", None)
    assert example.layout.prompt == "caption 0"
    dog, kite = example.layout.instances
    assert (dog.noun, kite.noun) == ("dog", "kite")
    assert dog.box == Box.from_xyxy((0, 0, 0.5, 0.5))
    assert kite.box == Box.from_xyxy((0.8, 0.8, 1, 1))


def test_bad_pictures_are_counted_and_skipped(coco: Callable[..., FoundExamples]) -> None:
    found = coco()
    assert [example.name for example in found.examples] == ["0", "1", "6", "7"]
    assert kinds(found) == {
        "2": "missing image",
        "3": "box outside the picture",
        "4": "empty caption",
        "5": "wrong category",
    }
    details = {example.kind: example.detail for example in found.bad}
    assert "no-file.png: no such file" in details["missing image"]
    assert details["box outside the picture"].startswith("annotation 17: bbox is [120, 10, 30, 30]")
    assert details["wrong category"].startswith("annotation 19: category_id 2 is not in")


def test_crowds_are_left_out(coco: Callable[..., FoundExamples]) -> None:
    boxes = [instance.box for instance in coco().examples[1].layout.instances]
    assert boxes == [Box.from_xyxy((0.2, 0, 0.8, 1))]


def test_small_boxes_are_left_out(coco: Callable[..., FoundExamples]) -> None:
    assert len(coco(least_area=0).examples[0].layout.instances) == 3
    assert len(coco(least_area=0.05).examples[0].layout.instances) == 1


def test_the_largest_instances_are_taken_in_the_files_order(
    coco: Callable[..., FoundExamples],
) -> None:
    layout = coco(most_instances=4).examples[-1].layout
    assert [round(one.box.x1 * 100) for one in layout.instances] == [52, 53, 54, 53]
    assert len(coco().examples[-1].layout.instances) == 7


def test_without_captions_the_names_are_the_caption(coco: Callable[..., FoundExamples]) -> None:
    found = coco(captioned=False)
    assert found.examples[0].layout.prompt == "dog, kite"
    assert kinds(found)["6"] == "nothing to say"
    assert "4" not in kinds(found)


@pytest.mark.parametrize(
    ("index", "changes", "kind"),
    [
        (0, {"id": 1}, "wrong id"),
        (0, {"id": [1]}, "wrong id"),
        (0, {"id": "one"}, "wrong id"),
        (0, {"id": 99}, "missing caption"),
        (0, {"width": 0}, "wrong picture size"),
        (0, {"file_name": None}, "missing image"),
    ],
)
def test_a_bad_record_of_a_picture_is_no_more_than_that(
    coco: Callable[..., FoundExamples], index: int, changes: dict[str, Any], kind: str
) -> None:
    document = instances()
    document["images"][index] |= changes
    found = coco(document)
    assert kind in kinds(found).values()
    assert len(found.examples) == 3


def test_a_file_that_is_not_cocos_is_refused_by_name(coco: Callable[..., FoundExamples]) -> None:
    with pytest.raises(DataError, match=r"instances\.json: no list 'annotations'; expected a COCO"):
        coco({"images": []})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    data = CocoData(format="coco", images=tmp_path, annotations=tmp_path / "none.json")
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        read_examples(data)
