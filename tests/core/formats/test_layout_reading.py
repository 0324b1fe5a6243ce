"""Layout files: reading, writing, and everything that can be wrong with a file."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from threedis_core.errors import LayoutError, OptionError
from threedis_core.files.documents import read_document
from threedis_core.formats.layout_files import read_layout
from threedis_core.values.layout import Box, Instance, Layout
from threedis_core.values.masks.mask import Mask

YAML = """
version: 1
prompt: a room with a cube
width: 64
height: 32
instances:
  - prompt: a red cube
    label: cube
    box: [0.1, 2e-1, 0.5, 1]
    depth_order: 0
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def png(folder: Path, name: str, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(folder / name, format="PNG")
    return folder / name


def test_yaml_and_json_read_alike(tmp_path: Path) -> None:
    layout = Layout.load(write(tmp_path, "a.yaml", YAML))
    assert layout.instances[0].box == Box.from_xyxy((0.1, 0.2, 0.5, 1))
    text = json.dumps(layout.to_dict())
    assert Layout.load(write(tmp_path, "a.json", text)) == layout
    assert Layout.load(write(tmp_path, "json_without_suffix", text)) == layout
    assert Layout.load(write(tmp_path, "yaml.txt", YAML)) == layout
    assert Layout.load(write(tmp_path, "with_bom.yaml", b"\xef\xbb\xbf" + YAML.encode())) == layout


texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff"),
    max_size=12,
)
# Texts that a YAML reader could take for something else.
tricky = st.sampled_from(["1e3", "yes", "~", "2020-01-01", "0x1f", "- a", "{a}", "1:30", "=", "<<"])
prompts = (texts | tricky).filter(lambda t: any(c.isprintable() and not c.isspace() for c in t))


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    x0, y0 = draw(st.floats(0, 0.5)), draw(st.floats(0, 0.5))
    x1, y1 = draw(st.floats(0.6, 1)), draw(st.floats(0.6, 1))
    pixels = np.array(draw(st.lists(st.booleans(), min_size=12, max_size=12))).reshape(3, 4)
    return Instance(
        prompt=draw(prompts),
        label=draw(st.none() | prompts),
        box=Box.from_xyxy((x0, y0, x1, y1)),
        mask=Mask.encode(pixels) if pixels.any() else None,
        depth_order=draw(st.none() | st.integers(0, 5)),
    )


layouts = st.builds(
    Layout,
    prompt=prompts,
    negative_prompt=texts,
    id=st.none() | texts,
    instances=st.lists(instances(), max_size=3).map(tuple),
)


@given(layouts, st.sampled_from([".json", ".yaml"]))
def test_what_is_saved_loads_again_elsewhere(layout: Layout, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"layout{suffix}"
        layout.save(path)
        assert Layout.load(path) == layout
        assert os.listdir(folder) == [path.name]


def test_masks_are_read_relative_to_the_file_and_saved_inside_it(tmp_path: Path) -> None:
    pixels = np.zeros((32, 64), dtype=np.uint8)
    pixels[4:20, 10:30] = 255
    (tmp_path / "scene").mkdir()
    png(tmp_path / "scene", "cube.png", pixels)
    path = write(tmp_path / "scene", "a.yaml", YAML + "    mask: cube.png\n")
    layout = Layout.load(path)
    mask = layout.instances[0].mask
    assert mask is not None
    assert (mask.decode() == (pixels > 0)).all()
    layout.save(tmp_path / "copy.json")
    (tmp_path / "scene" / "cube.png").unlink()
    assert Layout.load(tmp_path / "copy.json") == layout


def test_saving_over_a_file_replaces_it_and_a_failure_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    Layout(prompt="one").save(path)
    Layout(prompt="two").save(path)
    assert Layout.load(path).prompt == "two"
    with pytest.raises(LayoutError, match=r"name the file \*\.json"):
        Layout(prompt="two").save(tmp_path / "a.txt")
    with pytest.raises(LayoutError, match="cannot be written"):
        Layout(prompt="two").save(tmp_path / "missing" / "a.json")
    assert os.listdir(tmp_path) == ["a.json"]


BOMB = "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.yaml", b"", "the file is empty"),
        ("a.json", b" \n", "the file is empty"),
        ("a.yaml", b"# only a comment\n", "there is nothing in it"),
        ("a.yaml", b"prompt: caf\xe9", "byte 11 is not UTF-8"),
        ("a.json", "prompt: a", "not JSON: line 1, column 1"),
        ("a.yaml", "prompt: [a", "not YAML: line"),
        ("a.yaml", BOMB, "line 1: anchors (&) and aliases (*) are not read"),
        ("a.yaml", "a: *b", "line 1: anchors"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]", "the tag 'tag:yaml.org,2002:python"),
        ("a.yaml", "prompt: a\nprompt: b", "line 2: the key 'prompt' appears twice"),
        ("a.json", '{"prompt": "a", "prompt": "b"}', "the key 'prompt' appears twice"),
        ("a.yaml", "prompt: a\n---\nprompt: b", "a second document starts"),
        ("a.yaml", "[" * 5000, "nested deeper than 32 levels"),
        ("a.json", "[" * 200_000, "nested too deep"),
        ("a.json", '{"prompt": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ("a.yaml", "prompt: " + "9" * 5000, "is no number that can be read"),
        ("a.yaml", "? [a]\n: b", "a key is a list or mapping"),
        ("a.yaml", "prompt: on", "prompt: got True; expected text"),
        ("a.yaml", "[" + "a," * 210_000 + "]", "more than 200000 values"),
        ("a.yaml", b"prompt: \x00", "not YAML"),
        ("a.yaml", "- a\n- b", "got a list; expected a mapping"),
        ("a.json", '"text"', "got 'text'; expected a mapping"),
        ("a.json", b"\x89PNG\r\n\x1a\n", "this is a PNG picture; expected a JSON or YAML"),
        ("a.yaml", b"\xff\xd8\xff\xe0", "this is a JPEG picture"),
        ("a.yaml", b" " * (16 * 2**20 + 1), "16777217 bytes; expected at most 16777216"),
    ],
)
def test_a_wrong_file_gets_one_line_that_names_it(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(LayoutError) as caught:
        Layout.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such file"):
        Layout.load(tmp_path / "no.yaml")
    with pytest.raises(LayoutError, match="not a file"):
        Layout.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(LayoutError, match="not a file"):
        Layout.load(tmp_path / "pipe.yaml")
    for name in ("a\0b.yaml", "x" * 5000):
        with pytest.raises(LayoutError, match=r"no such file|cannot be read"):
            Layout.load(name)


def test_other_documents_raise_their_own_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="anchors"):
        read_document(write(tmp_path, "run.yaml", BOMB), OptionError)


def huge_png(folder: Path) -> Path:
    """A valid header that promises 40,000 x 40,000 pixels."""
    path = png(folder, "huge.png", np.zeros((1, 1), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    return path


def test_wrong_mask_pictures_are_refused_by_name(tmp_path: Path) -> None:
    whole = png(
        tmp_path, "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    )
    write(tmp_path, "cut.png", whole.read_bytes()[:800])
    write(tmp_path, "empty.png", b"")
    write(tmp_path, "text.png", '{"prompt": "a"}')
    huge_png(tmp_path)
    png(tmp_path, "black.png", np.zeros((32, 64), dtype=np.uint8))
    png(tmp_path, "clear.png", np.zeros((32, 64, 4), dtype=np.uint8))
    png(tmp_path, "small.png", np.ones((3, 3), dtype=np.uint8))
    Image.new("L", (8, 8)).save(tmp_path / "photo.png", format="JPEG")
    said = {
        "cut.png": "damaged picture",
        "empty.png": "the file is empty",
        "text.png": "not a picture that can be read; expected a mask as PNG",
        "huge.png": "1600000000 pixels; expected at most 16384 pixels a side",
        "black.png": "all black; expected at least one white pixel",
        "clear.png": "has transparency",
        "small.png": "it is 3x3 pixels; expected 64x32 like the layout",
        "photo.png": "not a picture that can be read",
        "missing.png": "no such file",
    }
    for name, text in said.items():
        path = write(tmp_path, "a.yaml", YAML + f"    mask: {name}\n")
        with pytest.raises(LayoutError) as caught:
            Layout.load(path)
        assert text in str(caught.value), name
        assert f"{path}: instances[0] ('a red cube').mask: " in str(caught.value)


@given(st.binary(max_size=200), st.sampled_from([".json", ".yaml", ".png", ""]))
def test_junk_bytes_give_a_layout_error(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), f"junk{suffix}", content)
        with pytest.raises(LayoutError):
            Layout.load(path)


@given(st.text("abx{}[]:,'\"&*!|>-?#%@`~ \n\t0123456789.eE_<=", max_size=60))
def test_junk_text_gives_plain_data_or_a_layout_error(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".json", ".yaml"):
            path = write(Path(folder), f"junk{suffix}", content)
            found = None
            with suppress(LayoutError):  # anything else that is raised fails the test
                found = read_document(path)
            assert found is None or isinstance(found, dict | list | str | int | float)
            json.dumps(found)  # no cycles, and nothing but plain data inside


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("coco.json", '{"images": [], "annotations": []}', "this is a COCO annotation file; say"),
        ("mig.yaml", "a street:\n  coco_id: 3\n", "this is a COCO-MIG file of 1 layouts; say"),
        ("large.json", "[" + " " * 2**24 + "]", "if it is a COCO annotation file, say which"),
    ],
)
def test_a_file_of_many_layouts_is_told_the_same_by_every_door(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    path = write(tmp_path, name, content)
    messages: set[str] = set()
    for load in (Layout.load, read_layout):
        with pytest.raises(LayoutError) as caught:
            load(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "--image-id" in message
    assert "read_layout(path, " in message


def test_a_layout_number_below_zero_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "mig.yaml", "a street:\n  coco_id: 3\n")
    with pytest.raises(LayoutError, match="no layout with coco_id -1; it has 1 layout, with ids"):
        read_layout(path, -1)


def test_saving_to_a_device_does_not_replace_it(tmp_path: Path) -> None:
    (tmp_path / "null.json").symlink_to(os.devnull)
    Layout(prompt="one").save(tmp_path / "null.json")
    assert (tmp_path / "null.json").is_symlink()
    assert Path(os.devnull).is_char_device()


def test_a_layout_number_beyond_all_numbers_of_the_machine_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mig.yaml"
    file.write_text("a red car:\n  coco_id: 7\n  a red car:\n    - [0, 0, 0.5, 0.5]\n")
    with pytest.raises(LayoutError, match="no layout with coco_id"):
        read_layout(file, 10**25)
