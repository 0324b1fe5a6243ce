"""Say in one line what is wrong with a layout, from pydantic's list of problems."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from threedis_core.files.printable import printable
from threedis_core.suggest import did_you_mean

MOST_SHOWN = 120
"""Letters of one value in a message."""


def one_line(error: ValidationError, model: type[BaseModel], data: Any) -> str:
    """Describe the first problem, and count the others.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        data: What a person wrote, to name an instance by its prompt.
    """
    problems = error.errors(include_url=False)
    # A misspelt field comes first: it is why another one is missing.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 2 else ""
    more = " (and 1 more problem)" if len(problems) == 2 else more
    return _describe(problems[0], model, data) + more


def _describe(problem: ErrorDetails, model: type[BaseModel], data: Any) -> str:
    path = problem["loc"]
    kind = problem["type"]
    if kind == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        known = list(owner.model_fields) if owner else []
        name = str(path[-1])
        return (
            f"{_place(path[:-1], data)}unknown field {shown(name)}; "
            f"known are {', '.join(known)}.{did_you_mean(name[:MOST_SHOWN], known)}"
        )
    if kind == "invalid_key":
        return f"{_place(path[:-1], data)}the key {shown(problem['input'])} is no text; quote it"
    place = _place(path, data)
    field = _field_at(model, path)
    owner = _model_at(model, path)
    if path and isinstance(path[-1], int) and owner:
        required = [name for name, info in owner.model_fields.items() if info.is_required()]
        return f"{place}got {shown(problem['input'])}; expected a mapping of {', '.join(required)}"
    expected = f"; expected {field.description}" if field and field.description else ""
    if kind == "missing":
        return f"{place}is missing{expected}"
    if kind == "value_error":
        return f"{place}{problem.get('ctx', {}).get('error', problem['msg'])}"
    if kind == "too_long":
        count = problem.get("ctx", {}).get("actual_length") or "more"
        return f"{place}there are {count}{expected}"
    return f"{place}got {shown(problem['input'])}{expected or '; ' + problem['msg']}"


def _place(path: Sequence[int | str], data: Any) -> str:
    """``instances[2] ('a red cube').box: `` for the path ("instances", 2, "box")."""
    place = ""
    for index, part in enumerate(path):
        if isinstance(part, int):
            place += f"[{part}]{_prompt_of(_follow(data, path[: index + 1]))}"
        else:
            place += f".{part}" if place else part
    return f"{place}: " if place else ""


def _prompt_of(instance: Any) -> str:
    prompt: Any = getattr(instance, "prompt", None)
    if isinstance(instance, Mapping):
        prompt = cast("Mapping[Any, Any]", instance).get("prompt")
    return f" ({shown(prompt)})" if isinstance(prompt, str) and prompt.strip() else ""


def _follow(data: Any, path: Sequence[int | str]) -> Any:
    for part in path:
        if isinstance(data, Mapping):
            data = cast("Mapping[Any, Any]", data).get(part)
        elif isinstance(data, Sequence) and isinstance(part, int) and part < len(cast(Any, data)):
            data = cast("Sequence[Any]", data)[part]
        else:
            return None
    return data


def shown(value: Any) -> str:
    """A value as it may stand in an error line: short and printable, whatever it is."""
    if isinstance(value, str):
        return printable(repr(value if len(value) <= 40 else value[:37] + "..."), MOST_SHOWN)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a huge number"
    try:
        return printable(reprlib.repr(value), MOST_SHOWN)
    except ValueError:  # a whole number inside it has more digits than Python writes
        return f"a {type(value).__name__} with a huge number"


def _field_at(model: type[BaseModel], path: Sequence[int | str]) -> FieldInfo | None:
    """The innermost named field on ``path``."""
    for end in range(len(path), 0, -1):
        owner = _model_at(model, path[: end - 1])
        name = path[end - 1]
        if owner and isinstance(name, str) and name in owner.model_fields:
            return owner.model_fields[name]
    return None


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model whose fields stand at ``path``."""
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None
