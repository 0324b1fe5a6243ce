"""Training data in a folder: ``examples.jsonl``, and the pictures and depth maps it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from threedis_core.errors import DataError, LayoutError, OptionError
from threedis_core.files.pictures import check_file
from threedis_core.plugin.options import validate_options
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown
from threedis_ldm3d.training.example import (
    BadExample,
    BadExampleError,
    Example,
    FoundExamples,
    check_there,
)

EXAMPLES = "examples.jsonl"


class FolderData(BaseModel):
    """A folder in ThreeDIS's own format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["folder"] = Field(description="folder: ThreeDIS's own format.")
    path: Path = Field(description=f"Folder that holds {EXAMPLES}.")


class _Record(BaseModel):
    """One line of ``examples.jsonl``; paths are relative to the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1)
    image: str | None = Field(default=None, min_length=1)
    depth: str | None = Field(default=None, min_length=1)
    layout: dict[str, Any]


def read_folder(data: FolderData) -> FoundExamples:
    """Read every line of ``examples.jsonl``; a line that cannot be used is counted and skipped.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    file = data.path / EXAMPLES
    examples: dict[str, Example] = {}
    bad: list[BadExample] = []
    for place, line in _lines(file):
        name = place
        try:
            record = _record(line)
            name = record.name
            if name in examples:
                raise BadExampleError("name that is not unique", f"{place} has it again")
            examples[name] = _example(record, data.path)
        except BadExampleError as problem:
            bad.append(problem.named(name))
    return FoundExamples(tuple(examples.values()), tuple(bad))


def example_line(example: Example, folder: Path) -> str:
    """The line of ``examples.jsonl`` that says ``example``, with its line break.

    Args:
        example: Its files must lie in ``folder``.
        folder: The folder of the data.
    """
    image, depth = (
        None if file is None else file.relative_to(folder).as_posix()
        for file in (example.image, example.depth)
    )
    record = {"name": example.name, "image": image, "depth": depth}
    line = {**record, "layout": example.layout.to_dict()}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """Where each line that is not blank stands, and what it is."""
    check_file(file, DataError)
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{EXAMPLES} line {number}", line
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _record(line: bytes) -> _Record:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadExampleError("broken line", f"not JSON: {error!s:.100}") from None
    if not isinstance(document, Mapping):
        raise BadExampleError("broken line", f"{shown(document)} is no object")
    try:
        return validate_options(_Record, cast("Mapping[str, Any]", document), "an example")
    except OptionError as error:
        raise BadExampleError("broken line", str(error)) from None


def _example(record: _Record, folder: Path) -> Example:
    if record.image is None and record.depth is None:
        raise BadExampleError("missing image", "neither an image nor a depth map is named")
    layout = _layout(record.layout, folder)
    image = None if record.image is None else check_there(folder / record.image, "image")
    depth = None if record.depth is None else check_there(folder / record.depth, "depth")
    return Example(record.name, image, depth, layout)


def _layout(data: Mapping[str, Any], folder: Path) -> Layout:
    try:
        return Layout.from_dict(data, folder)
    except LayoutError as error:
        raise BadExampleError(_kind(data), str(error)) from None


def _kind(data: Mapping[str, Any]) -> str:
    """What is wrong with a layout that cannot be read, in words that COCO's reader uses too."""
    prompt, instances = data.get("prompt"), data.get("instances")
    if isinstance(prompt, str) and not prompt.strip():
        return "empty caption"
    some = cast("Sequence[Any]", instances) if isinstance(instances, list) else ()
    boxes = [cast("Any", one).get("box") for one in some if isinstance(one, Mapping)]
    if any(_outside(box) for box in boxes):
        return "box outside the picture"
    return "wrong layout"


def _outside(box: Any) -> bool:
    """True for a list with a number that is no fraction of a picture."""
    sides = cast("list[Any]", box) if isinstance(box, list) else []
    return any(isinstance(side, int | float) and not 0 <= side <= 1 for side in sides)
