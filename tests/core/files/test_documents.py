"""JSON and YAML that would take a machine down, or leave it later with what no file can hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from threedis_core.errors import LayoutError, OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DATASET_BYTES
from threedis_core.files.plain_json import parse_json


def write(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


@pytest.mark.parametrize("count", [60_000, 1_000_000])
def test_objects_of_many_keys_are_read_or_refused_without_comparing_all_with_all(
    tmp_path: Path, count: int
) -> None:
    keys = [f'"k{index}": 1' for index in range(count)]
    twice = write(tmp_path, "a.json", "{" + ", ".join([*keys, keys[-1]]) + "}")
    said = f"the key 'k{count - 1}' appears twice" if count < 100_000 else "more than 200000 values"
    with pytest.raises(LayoutError, match=said):
        read_document(twice)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" + "0," * 200_000 + "0]", "line 1: more than 200000 values; expected a layout or a"),
        ("[\n" * 33 + "]" * 33, "line 33: nested too deep: more than 32 levels"),
        ('{"a": "\\ud800"}', r"the text '\ud800' has half a character"),
        ('{"\\udfff": 1}', r"the text '\udfff' has half a character"),
        ('["\\ud83c\\ud83c"]', "half a character"),
    ],
)
def test_json_is_bounded_and_whole_like_yaml(tmp_path: Path, text: str, said: str) -> None:
    for name in ("a.json", "no_suffix"):
        with pytest.raises(OptionError) as caught:
            read_document(write(tmp_path, name, text), OptionError)
        assert said in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        {"a": "[" * 100 + "{,:" * 100_000},
        {"a": '\\"' * 1000, "b": ["\\", '"', "]]]"]},
        {"emoji": "\N{LARGE RED CIRCLE}", "list": [[], {}, [[]]] * 1000},
    ],
)
def test_brackets_and_commas_inside_texts_do_not_count(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


def test_a_data_set_may_have_any_number_of_values(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps([[1, 2, 3]] * 100_000))
    assert len(read_document(path, LayoutError, MAX_DATASET_BYTES)) == 100_000


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 5000, "1:" * 5000 + "1", "9" * 5000, "0b" + "1" * 9999]
)
def test_numbers_of_thousands_of_digits_are_refused(tmp_path: Path, number: str) -> None:
    for text in (f"width: {number}", f"{number}: 1", f"a: {{{number}: 1}}"):
        with pytest.raises(
            LayoutError, match=r"line 1: .* is no number that can be read"
        ) as caught:
            read_document(write(tmp_path, "a.yaml", text))
        assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["evil\x1b[31m.json", "two\nlines.yaml", "\udcff.json", "\u202egpj.json"]
)
def test_a_file_name_cannot_act_on_the_terminal(tmp_path: Path, name: str) -> None:
    for content in (b"", b"[", b"\x89PNG", b"a: b: c", b"\xff"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LayoutError) as caught:
            read_document(tmp_path / name)
        assert str(caught.value).isprintable()
    for missing in (tmp_path / "gone" / name, tmp_path / (name + "\0")):
        with pytest.raises(LayoutError) as caught:
            read_document(missing)
        assert str(caught.value).isprintable()
