"""Errors as data: codes, places, problems, hints."""

from __future__ import annotations

import ast
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import threedis_core.errors as errors
from threedis_core import (
    Box,
    Choice,
    DepthMap,
    Instance,
    Layout,
    LayoutError,
    OptionError,
    RunConfig,
    ThreeDISError,
    UnknownPluginError,
    read_layout,
    render,
    render_config,
)
from threedis_core.errors import CODES, MOST_PROBLEMS, Problem, placed, retold
from threedis_core.plugin.failures import failures_named
from threedis_core.testing import sample_depth, sample_layout

ROOT = Path(__file__).parents[2]
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ThreeDISError)
]
LAYOUT = sample_layout(2)


def sources() -> list[Path]:
    folders = ("threedis_core", "renderers", "depth_models", "plugins")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_every_class_has_a_code_of_its_own_that_is_explained() -> None:
    own = [kind.code for kind in CLASSES]
    assert len(set(own)) == len(own)
    assert set(own) <= set(CODES)


def test_every_code_in_the_sources_is_explained_and_every_one_is_given_somewhere() -> None:
    given = {kind.code for kind in CLASSES} | {"unknown-field", "missing-field", "wrong-value"}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                given |= {part for part in parts if isinstance(part, str) and "-" in part}
    assert given | {"usage", "error", "cancelled"} == set(CODES)


def test_the_table_of_codes_in_the_docs_is_the_one_in_the_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8").partition("## Codes")[2]
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", page, re.MULTILINE)) == dict(CODES)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_data_that_json_and_pickle_can_carry(kind: type[ThreeDISError]) -> None:
    plain = kind("all is wrong")
    assert plain.to_dict() == {
        "error": kind.__name__,
        "code": kind.code,
        "message": "all is wrong",
    }
    full = kind(
        "all is wrong",
        code="wrong-value",
        file=Path("scene.yaml"),
        path="instances[3].box",
        problems=[Problem("instances[3].box", "got 3", hint="give four")],
        hint="mend it",
    )
    again = pickle.loads(pickle.dumps(full))
    assert (type(again), str(again), again.to_dict()) == (kind, str(full), full.to_dict())
    assert json.loads(json.dumps(full.to_dict())) == {
        "error": kind.__name__,
        "code": "wrong-value",
        "message": "all is wrong",
        "file": "scene.yaml",
        "path": "instances[3].box",
        "problems": [
            {
                "path": "instances[3].box",
                "message": "got 3",
                "code": "wrong-value",
                "hint": "give four",
            }
        ],
        "hint": "mend it",
    }


def test_an_error_that_is_told_again_keeps_what_it_knows() -> None:
    inner = LayoutError("bad box", code="wrong-value", path="box", hint="mend it")
    again = retold(inner, OptionError, "scene.yaml: bad box", file="scene.yaml", path="[3]")
    assert isinstance(again, OptionError)
    assert (again.code, again.file, again.path) == ("wrong-value", "scene.yaml", "[3].box")
    assert again.hint == "mend it"
    assert retold(LayoutError("x"), OptionError, "x").code == "bad-option"
    with (
        pytest.raises(errors.RenderError) as caught,
        placed("renderers.fake"),
        failures_named("it"),
    ):
        raise errors.RenderError("out of memory", path="steps", hint="ask for less")
    assert str(caught.value) == "it failed: out of memory"
    assert (caught.value.path, caught.value.hint) == ("renderers.fake.steps", "ask for less")


def test_a_plugins_own_error_class_may_have_any_constructor() -> None:
    class OwnError(ThreeDISError):
        def __init__(self, number: int) -> None:
            Exception.__init__(self, f"number {number}")

    assert OwnError(3).to_dict() == {"error": "OwnError", "code": "error", "message": "number 3"}


BROKEN = {
    "promt": "x",
    "instances": [
        {"prompt": "a cube", "box": [0, 0, 1, 1], "lable": "cube"},
        {"prompt": "a ball", "box": [0.5, 0, 0.1, 1]},
        {"prompt": "", "box": [0, 0, 1]},
        {"box": [0, 0, 1, 1], "depth_order": -1},
    ],
}


def test_a_layout_lists_all_of_its_problems_and_where_they_are() -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict(BROKEN)
    error = caught.value
    line = "instances[0] ('a cube'): unknown field 'lable'; known are prompt, box, label, mask"
    assert str(error).startswith(line)
    assert str(error).endswith("Did you mean 'label'? (and 7 more problems)")
    assert (error.code, error.path) == ("unknown-field", "instances[0].lable")
    assert error.hint == "Did you mean 'label'?"
    assert sorted((problem.path, problem.code) for problem in error.problems) == [
        ("instances[0].lable", "unknown-field"),
        ("instances[1].box", "wrong-value"),
        ("instances[2].box", "wrong-value"),
        ("instances[2].prompt", "wrong-value"),
        ("instances[3].depth_order", "wrong-value"),
        ("instances[3].prompt", "missing-field"),
        ("prompt", "missing-field"),
        ("promt", "unknown-field"),
    ]
    told = {problem.path: problem for problem in error.problems}
    assert told["instances[0].lable"].hint == "Did you mean 'label'?"
    assert told["instances[1].box"].message.startswith("x0 = 0.5 and x1 = 0.1; expected x0 < x1")
    json.dumps(error.to_dict())


def test_values_made_in_python_say_the_same() -> None:
    with pytest.raises(LayoutError) as caught:
        Instance(prompt="a cube", box=[0, 0, 1])
    assert caught.value.path == "box"
    with pytest.raises(LayoutError) as caught:
        Box.from_xyxy([0, 0, 2, 1])
    assert [problem.path for problem in caught.value.problems] == ["x1"]


def test_no_more_problems_are_listed_than_a_person_can_read() -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict({"prompt": "x", "instances": [{}] * 900})
    assert len(caught.value.problems) == MOST_PROBLEMS
    assert "and 1799 more problems" in str(caught.value)


def test_a_layout_file_is_named_and_so_is_the_mask_in_it(tmp_path: Path) -> None:
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps(BROKEN))
    with pytest.raises(LayoutError) as caught:
        read_layout(scene)
    assert (caught.value.file, len(caught.value.problems)) == (str(scene), 8)
    instance = {"prompt": "a cube", "box": [0, 0, 1, 1], "mask": "none.png"}
    scene.write_text(json.dumps({"prompt": "x", "instances": [instance]}))
    with pytest.raises(LayoutError) as caught:
        read_layout(scene)
    assert (caught.value.code, caught.value.path) == ("file-not-found", "instances[0].mask")
    assert caught.value.hint == "check the path"


def test_masks_of_two_sizes_name_the_second() -> None:
    masks = [np.ones((4, 4)), np.ones((4, 5))]
    instances = [{"prompt": "a", "box": [0, 0, 1, 1], "mask": mask} for mask in masks]
    with pytest.raises(LayoutError) as caught:
        Layout.from_dict({"prompt": "x", "instances": instances})
    assert caught.value.path == "instances[1].mask"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.yaml", None, "file-not-found"),
        ("empty.yaml", b"", "file-unreadable"),
        ("latin.yaml", b"prompt: \xff", "file-unreadable"),
        ("half.json", b'{"prompt": ', "file-unreadable"),
        ("coco.json", b'{"images": [], "annotations": []}', "image-id-needed"),
        ("list.yaml", b"[1, 2]", "wrong-value"),
        ("blank.yaml", b"prompt: ' '", "wrong-value"),
    ],
)
def test_a_file_that_is_no_layout_has_a_code_and_a_name(
    tmp_path: Path, name: str, content: bytes | None, code: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LayoutError) as caught:
        read_layout(tmp_path / name)
    assert (caught.value.code, caught.value.file) == (code, str(tmp_path / name))


def test_a_photo_as_depth_map_says_in_its_hint_what_to_run(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64), (200, 30, 30)).save(photo)
    with pytest.raises(errors.DepthError) as caught:
        DepthMap.load(photo)
    assert (caught.value.code, caught.value.file) == ("coloured-depth", str(photo))
    assert caught.value.hint.endswith(f"threedis depth estimate {photo}")


@pytest.mark.parametrize(
    ("asked", "code", "path", "hint"),
    [
        ({"renderers": ["fakee"]}, "unknown-plugin", "renderers.fakee", "Did you mean 'fake'?"),
        (
            {"renderers": {"fake": {"stepz": 3}}},
            "unknown-field",
            "renderers.fake.stepz",
            "Did you mean 'steps'?",
        ),
        ({"renderers": {"fake@b": {"steps": "x"}}}, "wrong-value", "renderers.fake@b.steps", ""),
        ({"region_refiner": "boxez"}, "unknown-plugin", "region_refiner", "Did you mean 'boxes'?"),
        (
            {"region_refiner": Choice(name="boxes", options={"x": 1})},
            "unknown-field",
            "region_refiner.options.x",
            "",
        ),
        ({"seeds": [1, "x"]}, "wrong-value", "seeds[1]", ""),
        ({"seeds": [-1]}, "wrong-value", "seed", ""),
        ({"width": 65, "height": 64}, "wrong-value", "width", "use 64"),
        ({"width": 64}, "missing-field", "height", "give both or neither"),
        ({"seedz": [1]}, "unknown-field", "seedz", "Did you mean 'seeds'?"),
    ],
)
def test_a_wrong_argument_of_a_run_has_a_place_and_a_hint(
    registry, asked: dict, code: str, path: str, hint: str
) -> None:
    with pytest.raises(errors.InputError) as caught:
        render(
            LAYOUT,
            **{"depth": sample_depth(LAYOUT, 64, 64), "renderers": ["fake"], **asked},
            registry=registry,
        )
    assert (caught.value.code, caught.value.path) == (code, path)
    assert caught.value.hint == hint


def test_a_config_names_its_file_and_lists_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seeds: [a, b]\nbatch_size: 0\n")
    with pytest.raises(OptionError) as caught:
        RunConfig.load(file)
    assert caught.value.file == str(file)
    assert [problem.path for problem in caught.value.problems] == [
        "seeds[0]",
        "seeds[1]",
        "batch_size",
    ]


def test_a_depth_model_that_is_not_there_has_a_place(registry) -> None:
    config = RunConfig(depth_model="planez", renderers={"fake": {}})
    with pytest.raises(UnknownPluginError) as caught:
        render_config(config, layout=LAYOUT, registry=registry)
    assert caught.value.path == "depth_model"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("layout", "check", "none.yaml"), 2, "file-not-found"),
        (("render", "scene.yaml", "--renderer", "fakee"), 2, "unknown-plugin"),
        (("render", "--sead", "3"), 2, "usage"),
        (("nonsense",), 2, "usage"),
    ],
)
def test_the_command_line_prints_an_error_as_json(
    threedis, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    found, out, err = threedis("--json-errors", *arguments)
    assert (found, out, err.count("\n")) == (exit_code, "", 1)
    told = json.loads(err)
    assert (told["code"], told["exit_code"]) == (code, exit_code)
    assert threedis.fails(*arguments) == "error: " + told["message"]


def test_a_failure_of_the_system_is_json_too(threedis) -> None:
    threedis("--json-errors", "layout", "draw", "scene.yaml", "--out", "a/b.png")
    _, _, err = threedis("--json-errors", "layout", "draw", "scene.yaml", "--out", "/proc/x.png")
    assert json.loads(err)["code"] in ("output-failed", "file-not-written")
