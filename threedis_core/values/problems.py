"""Say what is wrong with a layout, in one line and as a list, from what pydantic found."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from threedis_core.errors import (
    MOST_PROBLEMS,
    LayoutError,
    Problem,
    ThreeDISError,
    joined_path,
)
from threedis_core.files.printable import printable
from threedis_core.suggest import did_you_mean

MOST_SHOWN = 120
"""Letters of one value in a message."""


def layout_error(
    error: ValidationError, model: type[BaseModel], data: Any, what: str = ""
) -> LayoutError:
    """The error to raise for what pydantic found: its first problem in the line, all in its list.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        data: What a person wrote, to name an instance by its prompt.
        what: What was validated, to start the line with.
    """
    found = error.errors(include_url=False)
    # A misspelt field comes first: it is why another one is missing.
    found.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    problems = [_problem(one, model, data) for one in found[:MOST_PROBLEMS]]
    more = f" (and {len(found) - 1} more problems)" if len(found) > 2 else ""
    more = " (and 1 more problem)" if len(found) == 2 else more
    first, place = problems[0], _place(_owner_of(found[0]), data)
    message = first.message.removesuffix(".") if more else first.message
    return LayoutError(
        f"{what}{place}{message}{more}",
        code=first.code,
        path=first.path,
        problems=problems,
        hint=first.hint,
    )


def path_of(parts: Iterable[int | str]) -> str:
    """``instances[2].box`` for ("instances", 2, "box")."""
    path = ""
    for part in parts:
        name = f"[{part}]" if isinstance(part, int) else printable(part, MOST_SHOWN)
        path = joined_path(path, name)
    return path


def code_of(problem: ErrorDetails) -> str:
    """The code of what pydantic found, one of ``CODES``."""
    raised = problem.get("ctx", {}).get("error")
    if isinstance(raised, ThreeDISError):
        return raised.code
    return {"extra_forbidden": "unknown-field", "missing": "missing-field"}.get(
        problem["type"], "wrong-value"
    )


def _problem(found: ErrorDetails, model: type[BaseModel], data: Any) -> Problem:
    raised = found.get("ctx", {}).get("error")
    path, hint = path_of(found["loc"]), ""
    if found["type"] == "extra_forbidden":
        name = str(found["loc"][-1])[:MOST_SHOWN]
        hint = did_you_mean(name, _fields_of(model, found["loc"][:-1])).strip()
    elif isinstance(raised, ThreeDISError):
        path, hint = joined_path(path, raised.path), raised.hint
    return Problem(path, _message(found, model), code_of(found), hint)


def _owner_of(problem: ErrorDetails) -> tuple[int | str, ...]:
    """Where the line says that it is: a field that should not be there is told of its owner."""
    path = problem["loc"]
    return path[:-1] if problem["type"] in ("extra_forbidden", "invalid_key") else path


def _message(problem: ErrorDetails, model: type[BaseModel]) -> str:
    path = problem["loc"]
    kind = problem["type"]
    if kind == "extra_forbidden":
        known, name = _fields_of(model, path[:-1]), str(path[-1])
        return (
            f"unknown field {shown(name)}; "
            f"known are {', '.join(known)}.{did_you_mean(name[:MOST_SHOWN], known)}"
        )
    if kind == "invalid_key":
        return f"the key {shown(problem['input'])} is no text; quote it"
    field = _field_at(model, path)
    owner = _model_at(model, path)
    if path and isinstance(path[-1], int) and owner:
        required = [name for name, info in owner.model_fields.items() if info.is_required()]
        return f"got {shown(problem['input'])}; expected a mapping of {', '.join(required)}"
    expected = f"; expected {field.description}" if field and field.description else ""
    if kind == "missing":
        return f"is missing{expected}"
    if kind == "value_error":
        return str(problem.get("ctx", {}).get("error", problem["msg"]))
    if kind == "too_long":
        count = problem.get("ctx", {}).get("actual_length") or "more"
        return f"there are {count}{expected}"
    return f"got {shown(problem['input'])}{expected or '; ' + problem['msg']}"


def _fields_of(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    owner = _model_at(model, path)
    return list(owner.model_fields) if owner else []


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
