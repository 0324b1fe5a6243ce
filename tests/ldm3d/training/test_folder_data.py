"""Training data in a folder of ThreeDIS's own format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from threedis_core.errors import DataError
from threedis_core.values.layout import Box, Instance, Layout
from threedis_core.values.masks.mask import Mask
from threedis_ldm3d.training.examples import (
    CocoData,
    DataSource,
    Example,
    FolderData,
    FoundExamples,
    read_examples,
)
from threedis_ldm3d.training.folder_data import EXAMPLES, example_line

Examples = Callable[..., list[Example]]
LAYOUT: dict[str, Any] = {
    "prompt": "a dog",
    "instances": [{"prompt": "a red dog", "label": "dog", "box": [0.1, 0.2, 0.5, 0.75]}],
}


def read(folder: Path) -> FoundExamples:
    return read_examples(FolderData(format="folder", path=folder))


def read_line(folder: Path, line: str | dict[str, Any]) -> FoundExamples:
    """Read one line after a good one."""
    (folder / "a.png").write_bytes(b"opened later")
    good = {"name": "good", "image": "a.png", "layout": LAYOUT}
    text = line if isinstance(line, str) else json.dumps(line)
    (folder / EXAMPLES).write_text(f"{json.dumps(good)}\n{text}\n", "utf-8")
    return read(folder)


def test_what_is_written_is_read_again(examples: Examples, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    dog = Instance(
        prompt="ein roter Hund, süß",
        label="Hund",
        box=Box.from_xyxy((0.1, 0.2, 0.5, 0.75)),
        mask=Mask.encode([[0, 1], [1, 1]]),
        depth_order=1,
    )
    first, second, third = examples(3)
    written = [
        replace(first, layout=Layout(prompt="Hund", instances=(dog,))),
        replace(second, image=None),
        replace(third, depth=None),
    ]
    lines = [example_line(example, folder) for example in written]
    (folder / EXAMPLES).write_text("".join(lines), "utf-8")
    assert read(folder) == FoundExamples(tuple(written))


@pytest.mark.parametrize(
    ("line", "name", "kind"),
    [
        ("{", "examples.jsonl line 2", "broken line"),
        ("[1]", "examples.jsonl line 2", "broken line"),
        ({"name": "x", "image": "a.png"}, "examples.jsonl line 2", "broken line"),
        (
            {"name": "x", "image": "a.png", "layout": LAYOUT, "size": 3},
            "examples.jsonl line 2",
            "broken line",
        ),
        ({"name": "x", "layout": LAYOUT}, "x", "missing image"),
        ({"name": "x", "image": "b.png", "layout": LAYOUT}, "x", "missing image"),
        ({"name": "x", "image": "a.png", "depth": "b.png", "layout": LAYOUT}, "x", "missing depth"),
        ({"name": "x", "image": "a.png", "layout": LAYOUT | {"prompt": " "}}, "x", "empty caption"),
        ({"name": "x", "image": "a.png", "layout": {"prompt": 3}}, "x", "wrong layout"),
        ({"name": "good", "image": "a.png", "layout": LAYOUT}, "good", "name that is not unique"),
    ],
)
def test_a_bad_line_is_counted_and_skipped(
    tmp_path: Path, line: str | dict[str, Any], name: str, kind: str
) -> None:
    found = read_line(tmp_path, line)
    assert [example.name for example in found.examples] == ["good"]
    assert [(example.name, example.kind) for example in found.bad] == [(name, kind)]


@pytest.mark.parametrize(
    ("box", "kind"),
    [([0.1, 0.1, 1.2, 0.5], "box outside the picture"), ([0.5, 0.1, 0.2, 0.5], "wrong layout")],
)
def test_a_bad_box_names_its_instance(tmp_path: Path, box: list[float], kind: str) -> None:
    layout = {"prompt": "a dog", "instances": [{"prompt": "red dog", "box": box}]}
    found = read_line(tmp_path, {"name": "x", "image": "a.png", "layout": layout})
    assert found.bad[0].kind == kind
    assert found.bad[0].detail.startswith("instances[0] ('red dog').box")


def test_bytes_that_are_no_text_are_one_bad_line(tmp_path: Path) -> None:
    read_line(tmp_path, "{}")
    with (tmp_path / EXAMPLES).open("ab") as file:
        file.write(b"\xff\xfe\n")
    assert [example.kind for example in read(tmp_path).bad] == ["broken line"] * 2


def test_a_folder_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"examples\.jsonl: no such file"):
        read(tmp_path)


def test_the_format_says_which_fields_there_are() -> None:
    source = TypeAdapter[Any](DataSource)
    folder = source.validate_python({"format": "folder", "path": "data"})
    assert folder == FolderData(format="folder", path=Path("data"))
    coco = source.validate_python({"format": "coco", "images": "a", "annotations": "b"})
    assert isinstance(coco, CocoData)
    for wrong in ({"format": "yolo", "path": "a"}, {"format": "folder", "images": "a"}):
        with pytest.raises(ValidationError):
            source.validate_python(wrong)


@pytest.mark.parametrize("model", [CocoData, FolderData])
def test_every_field_is_described(model: type[CocoData | FolderData]) -> None:
    assert all(field.description for field in model.model_fields.values())
