"""Layout: a global prompt, and what is where."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from threedis_core.errors import LayoutError, retold
from threedis_core.files.atomic import write_atomically
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_DOCUMENT_BYTES, MAX_INSTANCES, MAX_SIDE, MAX_TEXT
from threedis_core.files.pictures import check_file
from threedis_core.files.plain_yaml import dump_yaml
from threedis_core.files.printable import printable
from threedis_core.files.schemas import WrittenAs, described, named_by_key, without_key
from threedis_core.values.box import Box, LayoutValue
from threedis_core.values.masks.layout_masks import MaskFiles, MaskTotal
from threedis_core.values.masks.mask import Mask, Side
from threedis_core.values.nouns import bare_noun, names_colour
from threedis_core.values.problems import layout_error, shown

__all__ = ["Box", "Instance", "InstanceLoRA", "Layout"]

FORMAT_VERSION = 1
MOST_LORAS = 16
"""LoRAs that one instance may name."""
CHOOSE_ONE = "say which {} with --image-id N, in Python with read_layout(path, N)"


def _visible(text: str) -> str:
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise ValueError(f"got {shown(text)}; expected text that is not blank")
    return text


def _printable(text: str) -> str:
    control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\r\u2028\u2029\ufeff]", text)
    if control:
        raise ValueError(f"has the control character {control.group()!r}; remove it")
    return text


Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT), AfterValidator(_printable)]
Prompt = Annotated[Text, AfterValidator(_visible)]
_MASK_FILE = {"type": "string", "description": "The path of a PNG file."}
_TEXT = f"text of at most {MAX_TEXT} characters (in YAML, put it in quotes)"


class InstanceLoRA(LayoutValue):
    """A LoRA that counts in an instance's region alone.

    The layout names it; which file it is, a renderer's option ``instance_loras`` says, since a
    LoRA fits one base model only. Written as its name, or as ``{name, weight}``.

    Args:
        name: Its name among the renderer's ``instance_loras``.
        weight: How strongly it counts there: 1 as it was trained, 0 not at all.
    """

    name: Prompt = Field(description="the name of a LoRA, as text")
    weight: float = Field(
        default=1.0, allow_inf_nan=False, description="a number: 1 as it was trained"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if isinstance(data, Mapping | InstanceLoRA):
            return cast(Any, data)
        if not isinstance(data, str):
            raise ValueError(f"got {shown(data)}; expected the name of a LoRA, or {{name, weight}}")
        return {"name": data}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        own = handler(core_schema)
        if handler.mode == "serialization":
            return own
        return {"anyOf": [{"type": "string", "minLength": 1}, own]}


class Instance(LayoutValue):
    """One thing in the picture: what it is and where.

    Args:
        prompt: Its full description, "a red cube".
        box: Where it is.
        label: Its bare noun, "cube", for the depth stage; None means the prompt's.
        mask: Its exact pixels, finer than the box. Besides a ``Mask``, a path of a PNG file, a
            COCO run-length code or an array (height, width) is accepted and turned into one.
        depth_order: Place in the order from near to far: 0 is nearest. Ties are allowed.
        loras: LoRAs that count in its region alone, by the names that a renderer's option
            ``instance_loras`` gives them; None or empty means none.
    """

    prompt: Prompt = Field(description=_TEXT)
    box: Box = Field(description="four numbers [x0, y0, x1, y1]")
    label: Prompt | None = Field(default=None, description=_TEXT)
    mask: Annotated[Mask | None, WrittenAs(_MASK_FILE)] = Field(
        default=None, description="the path of a PNG file or a COCO run-length code"
    )
    depth_order: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = Field(
        default=None, description="a whole number from 0 (nearest) to 1000000"
    )
    loras: tuple[InstanceLoRA, ...] | None = Field(
        default=None,
        max_length=MOST_LORAS,
        description=f"a list of at most {MOST_LORAS} names of LoRAs, or of {{name, weight}}",
    )

    @field_validator("mask", mode="before")
    @classmethod
    def _read_mask(cls, mask: Any, info: ValidationInfo) -> Any:
        if isinstance(mask, str | Path):
            files: MaskFiles = info.context or MaskFiles()
            return files.read(mask)
        return Mask.encode(cast(Any, mask)) if isinstance(mask, np.ndarray) else mask

    @property
    def noun(self) -> str:
        """What it is, for the depth stage: the label, or the prompt if there is none, uncoloured.

        A label that names no colour is this, letter for letter; see ``bare_noun`` for the others.
        """
        if self.label is not None and not names_colour(self.label):
            return self.label
        return bare_noun(self.label or self.prompt)


def _as_file(schema: dict[str, Any], model: type[BaseModel]) -> None:
    described(schema, model)
    named_by_key(schema)
    schema["allOf"] = [  # width and height: both or neither
        {
            "if": {"properties": {one: {"type": "integer"}}, "required": [one]},
            "then": {"properties": {other: {"type": "integer"}}, "required": [other]},
        }
        for one, other in (("width", "height"), ("height", "width"))
    ]


class Layout(LayoutValue):
    """A picture to be made: a global prompt and the instances in it.

    Args:
        version: Version of the format; 1.
        id: Name of the layout in the data set it comes from.
        prompt: Description of the whole picture.
        negative_prompt: What the picture should not show.
        width: Picture width in pixels; None leaves it to the run.
        height: Picture height in pixels; None leaves it to the run.
        instances: At most 1000; masks all have the layout's size, or one size if it has none.
    """

    model_config = ConfigDict(json_schema_extra=_as_file)

    version: Literal[1] = 1
    id: Text | None = Field(default=None, description=_TEXT)
    prompt: Prompt = Field(description=_TEXT)
    negative_prompt: Text = Field(default="", description=_TEXT)
    width: Side | None = Field(
        default=None, description=f"a whole number of pixels, 1 to {MAX_SIDE}"
    )
    height: Side | None = Field(
        default=None, description=f"a whole number of pixels, 1 to {MAX_SIDE}"
    )
    instances: tuple[Instance, ...] = Field(
        default=(),
        max_length=MAX_INSTANCES,
        description=f"a list of at most {MAX_INSTANCES} instances",
    )

    @field_validator("version", mode="before")
    @classmethod
    def _check_version(cls, version: Any) -> Any:
        if type(version) is not int or version != FORMAT_VERSION:
            raise ValueError(
                f"got {shown(version)}; expected {FORMAT_VERSION}, the one this ThreeDIS reads"
            )
        return version

    @field_validator("instances", mode="before")
    @classmethod
    def _check_list(cls, instances: Any) -> Any:
        if not isinstance(instances, list | tuple):
            raise ValueError(f"got {shown(instances)}; expected a list of instances")
        count = len(cast("Sequence[Any]", instances))
        if count > MAX_INSTANCES:
            raise LayoutError(
                f"got {count} instances; expected at most {MAX_INSTANCES}",
                code="too-many-instances",
            )
        return cast(Any, instances)

    @model_validator(mode="after")
    def _masks_fit(self) -> Layout:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together; give both or neither")
        size = None if self.width is None else (self.width, self.height)
        source = "the layout"
        total = MaskTotal()
        for index, instance in enumerate(self.instances):
            if instance.mask is None:
                continue
            found = (instance.mask.width, instance.mask.height)
            if size is None:
                size, source = found, f"the mask of instances[{index}]"
            if found != size:
                raise LayoutError(
                    f"instances[{index}] ({shown(instance.prompt)}).mask: it is "
                    f"{found[0]}x{found[1]} pixels; expected {size[0]}x{size[1]} like {source}",
                    code="wrong-value",
                    path=f"instances[{index}].mask",
                )
            total.add(instance.mask)
        return self

    @classmethod
    def from_dict(cls, data: Any, folder: str | Path | None = ".") -> Layout:
        """Make a layout from plain data, as a file holds it.

        Args:
            data: A mapping with the fields of a layout; ``$schema`` may name its schema.
            folder: Where relative paths of mask pictures start; None: a mask that is a path is
                refused, so that data of strangers reads no files.
        Raises:
            LayoutError: The data is no layout, or a mask cannot be read.
        """
        if not isinstance(data, Mapping):
            told = "a list" if isinstance(data, list) else shown(data)
            found = "nothing" if data is None else told
            raise LayoutError(
                f"got {found}; expected a mapping with prompt and instances",
                code="wrong-value",
            )
        try:
            return cls.model_validate(without_key(data), context=MaskFiles(folder))
        except ValidationError as error:
            raise layout_error(error, cls, data) from None

    @classmethod
    def load(cls, path: str | Path) -> Layout:
        """Read a layout from a JSON or YAML file.

        Mask pictures are read now, from paths relative to the file's folder, so that the layout
        no longer depends on them.

        Raises:
            LayoutError: One line that names the file, the instance and the field.
        """
        path = Path(path)
        _refuse_data_set_by_size(path)
        data = read_document(path, LayoutError)
        try:
            _refuse_data_set(data)
            return cls.from_dict(data, path.parent)
        except LayoutError as error:
            raise retold(error, LayoutError, f"{printable(path)}: {error}", file=path) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back: masks as run-length codes, no None."""
        return self.model_dump(mode="json", exclude_none=True)

    def save(self, path: str | Path) -> None:
        """Write the layout as JSON (.json) or YAML (.yaml, .yml), masks included.

        Raises:
            LayoutError: Another suffix, or the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in (".json", ".yaml", ".yml"):
            hint = "name the file *.json or *.yaml"
            raise LayoutError(
                f"{printable(path)}: {hint}", code="file-not-written", file=path, hint=hint
            )
        text = _json_text(self.to_dict()) if suffix == ".json" else dump_yaml(self.to_dict())
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise LayoutError(
                f"{printable(path)}: cannot be written: {error.strerror}",
                code="file-not-written",
                file=path,
            ) from error


def _refuse_data_set_by_size(path: Path) -> None:
    size = check_file(path, LayoutError)
    if size > MAX_DOCUMENT_BYTES:
        hint = f"if it is a COCO annotation file, {CHOOSE_ONE.format('picture')}"
        raise LayoutError(
            f"{printable(path)}: {size} bytes; expected at most {MAX_DOCUMENT_BYTES} for a layout; "
            f"{hint}",
            code="file-too-large",
            file=path,
            hint=hint,
        )


def _refuse_data_set(document: Any) -> None:
    """Say what to do with a file that holds many layouts."""
    if not isinstance(document, Mapping) or not document:
        return
    entries = cast("Mapping[Any, Any]", document)
    first = next(iter(entries.values()))
    if "images" in entries and "annotations" in entries:
        raise _many("this is a COCO annotation file", "picture")
    if isinstance(first, Mapping) and "coco_id" in first:
        raise _many(f"this is a COCO-MIG file of {len(entries)} layouts", "layout")


def _many(found: str, what: str) -> LayoutError:
    hint = CHOOSE_ONE.format(what)
    return LayoutError(f"{found}; {hint}", code="image-id-needed", hint=hint)


def _json_text(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, indent=2)
    # Lists of numbers on one line. Line breaks inside texts are escaped, so none match.
    return re.sub(r"\[\n[^\[\]{}\"]*\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\n *", " ", found.group()).replace("[ ", "[").replace(" ]", "]")
