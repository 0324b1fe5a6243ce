"""JSON schemas of what people write, for editors and forms: every way that is read, and what it is.

A pydantic model says how its values are kept. What may be written is more: a box as a list, a mask
as a file's name. The parts here tell pydantic so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any, cast

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEY = "$schema"
"""The key by which a file names its schema; whoever reads the file skips it."""
ARGUMENT = re.compile(r"^    (\w+): ((?:.|\n {6,})+)$", re.MULTILINE)


class WrittenAs:
    """Annotation of a field: the ways beside its own type in which it may be written.

    Args:
        *others: A JSON schema each.
    """

    def __init__(self, *others: JsonSchemaValue) -> None:
        self._others = others

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        own = handler(core_schema)
        if handler.mode == "serialization":
            return own
        return {"anyOf": [*self._others, *own.get("anyOf", [own])]}


def described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Give every property the words of the docstring of ``model``; they say what it means.

    pydantic calls it, as ``json_schema_extra`` of a model.
    """
    text, _, arguments = cleandoc(model.__doc__ or "").partition("\n\nArgs:\n")
    schema["description"] = " ".join(text.replace("``", "").split())
    for name, words in ARGUMENT.findall(arguments):
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = " ".join(words.replace("``", "").split())


def named_by_key(schema: dict[str, Any]) -> None:
    """Let what ``schema`` describes name its schema."""
    told = {"type": "string", "description": "Where the schema of this file is, for editors."}
    schema["properties"] = {KEY: told, **schema["properties"]}


def without_key(data: Any) -> Any:
    """What a file says, without the text by which it names its schema."""
    if not isinstance(data, Mapping):
        return data
    fields = cast("Mapping[Any, Any]", data)
    if not isinstance(fields.get(KEY), str):
        return fields
    return {name: value for name, value in fields.items() if name != KEY}


def file_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a file that holds ``model``: a document of its own."""
    return {KEY: DIALECT, **model.model_json_schema()}
