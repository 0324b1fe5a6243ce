"""Validate what a person wrote against a pydantic model, with errors of one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from threedis_core.errors import OptionError
from threedis_core.suggest import did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def validate_options(model: type[Model], values: Mapping[str, Any], owner: str) -> Model:
    """Make a ``model`` from ``values``.

    Args:
        model: The pydantic model that defines the options.
        values: Option names and values, as a person wrote them.
        owner: Whose options they are, for the message: "renderer 'sd15'".
    Raises:
        OptionError: An unknown option, or a value that does not fit.
    """
    names = cast("Iterable[object]", values)  # a YAML file has keys of any kind
    for name in names:
        if not isinstance(name, str):
            raise OptionError(f"The key {name!r:.60} for {owner} is no text; quote it.")
        if name not in model.model_fields:
            known = sorted(model.model_fields)
            raise OptionError(
                f"Unknown option '{name}' for {owner}. It knows: {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise OptionError(f"{owner}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """The first problem of a validation error in one line, and how many more there are."""
    problems = error.errors()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _describe_one(problems[0]) + more


def _describe_one(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{where} is not a known field"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = message[:1].lower() + message[1:]
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):
        # A check of several fields together; its message names them.
        return f"{where}: {message}" if where else message
    found = repr(problem["input"])
    if len(found) > 60:
        found = found[:57] + "..."
    return f"{where or 'value'} is {found}: {message}"
