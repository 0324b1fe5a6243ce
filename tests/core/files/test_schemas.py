"""JSON schemas: what is accepted validates, and what is of another structure does not."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from threedis_core import Layout, LayoutError, OptionError, RunConfig
from threedis_core.files.plain_yaml import dump_yaml
from threedis_core.files.schemas import DIALECT, file_schema

LAYOUTS = Draft202012Validator(file_schema(Layout))
CONFIGS = Draft202012Validator(file_schema(RunConfig))
SCENE: dict[str, Any] = {
    "$schema": "layout.schema.json",
    "version": 1,
    "id": "7",
    "prompt": "a table",
    "negative_prompt": "blurry",
    "width": 20,
    "height": 10,
    "instances": [
        {"prompt": "a cup", "box": [0, 0.1, 0.5, 1], "label": "cup", "depth_order": 3},
        {"prompt": "a jug", "box": [0, 0, 1, 1], "label": None, "mask": None, "depth_order": None},
        {"prompt": "a fork", "box": {"x0": 0, "y0": 0, "x1": 1, "y1": 1}},
        {"prompt": "a lid", "box": [0, 0, 1, 1], "mask": "lid.png"},
        {"prompt": "a pot", "box": [0, 0, 1, 1], "mask": {"size": [10, 20], "counts": [0, 200]}},
    ],
}
boxes = st.lists(st.floats(0, 1), min_size=4, max_size=4)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("1", (20, 10), 1).save(tmp_path / "lid.png")
    return tmp_path


def changed(path: str, value: Any) -> dict[str, Any]:
    """The scene with ``value`` at ``path``, such as "instances.0.box"; ``...`` removes it."""
    scene = copy.deepcopy(SCENE)
    *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = scene
    for part in outer:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return scene


def test_the_schemas_are_schemas() -> None:
    for validator in (LAYOUTS, CONFIGS):
        Draft202012Validator.check_schema(validator.schema)
        assert validator.schema["$schema"] == DIALECT


def test_a_full_layout_validates_as_it_is_written_and_as_it_is_kept(folder: Path) -> None:
    LAYOUTS.validate(SCENE)
    layout = Layout.from_dict(SCENE, folder)
    LAYOUTS.validate(layout.to_dict())
    assert "$schema" not in layout.to_dict()
    kept = Draft202012Validator(Layout.model_json_schema(mode="serialization"))
    kept.validate(layout.to_dict())


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_file_may_name_its_schema(folder: Path, suffix: str) -> None:
    file = folder / f"scene.{suffix}"
    file.write_text(json.dumps(SCENE) if suffix == "json" else dump_yaml(SCENE))
    assert len(Layout.load(file).instances) == 5


def test_only_a_text_names_a_schema(folder: Path) -> None:
    with pytest.raises(LayoutError, match=r"unknown field '\$schema'"):
        Layout.from_dict({"$schema": 3, "prompt": "x"}, folder)


REFUSED = [
    ("prompt", ...),
    ("prompt", 3),
    ("prompt", None),
    ("prompt", "x" * 10_001),
    ("promt", "x"),
    ("version", 2),
    ("version", "1"),
    ("id", 7),
    ("negative_prompt", None),
    ("width", 0),
    ("width", 16385),
    ("width", "20"),
    ("width", ...),
    ("height", None),
    ("$schema", 3),
    ("instances", {}),
    ("instances", None),
    ("instances.0", "a cup"),
    ("instances.0.box", ...),
    ("instances.0.box", [0, 0, 1]),
    ("instances.0.box", [0, 0, 1, 2]),
    ("instances.0.box", [0, 0, 1, -0.1]),
    ("instances.0.box", [0, 0, 1, True]),
    ("instances.0.box", [0, 0, 1, "1"]),
    ("instances.0.box", "0 0 1 1"),
    ("instances.0.box", {"x0": 0, "y0": 0, "x1": 1}),
    ("instances.0.box", {"x": 0, "y": 0, "width": 1, "height": 1}),
    ("instances.0.label", 3),
    ("instances.0.lable", "cup"),
    ("instances.0.depth_order", -1),
    ("instances.0.depth_order", "1"),
    ("instances.0.mask", 3),
    ("instances.0.mask", ["a.png"]),
    ("instances.4.mask", {"size": [10], "counts": [0, 200]}),
    ("instances.4.mask", {"size": [10, 20]}),
    ("instances.4.mask", {"size": [10, 20], "counts": [0, -1]}),
    ("instances.4.mask", {"size": [10, 20], "counts": 200}),
]


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_a_layout_of_another_structure_is_refused_by_both(
    folder: Path, path: str, value: Any
) -> None:
    scene = changed(path, value)
    assert not LAYOUTS.is_valid(scene)
    with pytest.raises(LayoutError):
        Layout.from_dict(scene, folder)


def test_too_many_instances_are_refused_by_both() -> None:
    scene = {"prompt": "x", "instances": [{"prompt": "a", "box": [0, 0, 1, 1]}] * 1001}
    assert not LAYOUTS.is_valid(scene)
    with pytest.raises(LayoutError):
        Layout.from_dict(scene)


@given(
    st.fixed_dictionaries(
        {"prompt": texts},
        optional={
            "id": texts | st.none(),
            "negative_prompt": texts,
            "width": st.integers(1, 99) | st.none(),
            "height": st.integers(1, 99) | st.none(),
            "instances": st.lists(
                st.fixed_dictionaries(
                    {"prompt": texts, "box": boxes},
                    optional={
                        "label": texts | st.none(),
                        "depth_order": st.integers(-1, 9) | st.none(),
                    },
                ),
                max_size=3,
            ),
        },
    )
)
def test_whatever_layout_is_accepted_validates(data: dict[str, Any]) -> None:
    try:
        layout = Layout.from_dict(data)
    except LayoutError:
        return
    LAYOUTS.validate(data)
    LAYOUTS.validate(layout.to_dict())


def test_layouts_that_are_broken_at_random_are_refused_wherever_the_schema_refuses(
    folder: Path,
) -> None:
    rng = random.Random(0)
    values: list[Any] = [None, 3, -1, 0.5, True, "x", "", [], {}, [0, 0, 1, 1], ["x"], {"x0": 0}]
    paths = ["prompt", "width", "instances", "instances.0", "instances.0.box", "instances.3.mask"]
    paths += ["instances.1.label", "instances.4.mask", "instances.4.mask.counts", "version", "id"]
    for _ in range(400):
        scene = changed(rng.choice(paths), rng.choice(values))
        try:
            Layout.from_dict(scene, folder)
        except LayoutError:
            continue
        LAYOUTS.validate(scene)


def test_arrays_are_for_python_alone(folder: Path) -> None:
    scene = changed("instances.3.mask", np.ones((10, 20)))
    LAYOUTS.validate(Layout.from_dict(scene, folder).to_dict())


ACCEPTED_CONFIGS: list[dict[str, Any]] = [
    {},
    {"$schema": "config.schema.json", "layout": "scene.yaml", "image_id": 7, "depth": None},
    {"depth_model": "ldm3d", "region_refiner": "sam", "renderers": "sd15"},
    {"depth_model": {"name": "ldm3d", "options": {"steps": 3}}, "renderers": ["sd15", "flux"]},
    {"renderers": {"sd15": None, "sd15@off": {"control_steps": 0}}, "seeds": [1, 2]},
    {"control": "off"},
    {"control": False},
    {"control": "both", "width": 64, "height": 64, "batch_size": 1, "out": "runs/x"},
]
REFUSED_CONFIGS: list[dict[str, Any]] = [
    {"renderer": "sd15"},
    {"renderers": 3},
    {"renderers": ["sd15", "sd15"]},
    {"renderers": {"sd15": 3}},
    {"depth_model": 3},
    {"depth_model": {"options": {}}},
    {"depth_model": {"name": "ldm3d", "option": {}}},
    {"region_refiner": None},
    {"seeds": 3},
    {"seeds": []},
    {"seeds": ["x"]},
    {"control": "maybe"},
    {"width": 0},
    {"batch_size": 0},
    {"$schema": 3},
]


@pytest.mark.parametrize("config", ACCEPTED_CONFIGS)
def test_a_config_that_is_accepted_validates(tmp_path: Path, config: dict[str, Any]) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(config))
    RunConfig.load(file)
    CONFIGS.validate(config)


@pytest.mark.parametrize("config", REFUSED_CONFIGS)
def test_a_config_of_another_structure_is_refused_by_both(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(config))
    with pytest.raises(OptionError):
        RunConfig.load(file)
    assert not CONFIGS.is_valid(config)


def test_every_field_of_the_schemas_is_described_in_words_without_python() -> None:
    for schema in (LAYOUTS.schema, CONFIGS.schema):
        for field in schema["properties"].values():
            assert "``" not in field["description"]
    told = LAYOUTS.schema["$defs"]["Instance"]["properties"]
    assert told["prompt"]["description"] == 'Its full description, "a red cube".'
    assert told["mask"]["description"].endswith("is accepted and turned into one.")


@pytest.mark.parametrize(("group", "model"), [("layout", Layout), ("config", RunConfig)])
def test_the_command_line_prints_the_schemas(threedis, group: str, model: type) -> None:
    code, out, err = threedis(group, "schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == file_schema(model)
