"""Validate what a person wrote against a pydantic model, with errors of one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from threedis_core.errors import MOST_PROBLEMS, OptionError, Problem
from threedis_core.files.printable import printable
from threedis_core.suggest import did_you_mean
from threedis_core.values.problems import code_of, path_of

Model = TypeVar("Model", bound=BaseModel)

EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of names to values",
    "mapping_type": "a mapping of names to values",
    "model_": "a mapping of names to values",
    "path_type": "the name of a file or folder",
}
"""What is expected where pydantic finds a problem whose type starts so."""


class OptionsModel(BaseModel):
    """Base of what a person sets: frozen, unknown names refused, errors of one line.

    Raises:
        OptionError: A field is missing, unknown or wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _option_error(error, type(self), type(self).__name__) from None

    # Tells pydantic that this __init__ adds nothing to validation, so that a nested value is
    # validated in place and the error's path stays whole.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]


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
            raise OptionError(
                f"The key {name!r:.60} for {owner} is no text; quote it.",
                code="unknown-field",
                hint="quote it",
            )
        if name not in model.model_fields and name not in former_names(model):
            known = sorted(model.model_fields)
            raise OptionError(
                f"Unknown option '{name}' for {owner}. It knows: {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}",
                code="unknown-field",
                path=path_of((name,)),
                hint=did_you_mean(name, known).strip(),
            )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _option_error(error, model, owner) from error
    except UnicodeEncodeError as error:  # pydantic cannot put such a text into its message
        text = printable(error.object, 60)
        raise OptionError(f"{owner}: '{text}' has bytes that are no text; expected UTF-8") from None


def former_names(model: type[BaseModel]) -> set[str]:
    """Names under which fields of ``model`` are understood beside their own."""
    aliases = [field.validation_alias for field in model.model_fields.values()]
    choices = [alias.choices for alias in aliases if isinstance(alias, AliasChoices)]
    return {name for some in choices for name in some if isinstance(name, str)}


def _option_error(error: ValidationError, model: type[BaseModel], owner: str) -> OptionError:
    """The error for what pydantic found: its first problem in the line, all of them in its list."""
    listed = error.errors()
    found = [one for one in listed if not _follows(one, listed)]
    # A misspelt field comes first: it is why another one is missing.
    found.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    problems = [_problem(one, model) for one in found[:MOST_PROBLEMS]]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    first = problems[0]
    return OptionError(
        f"{owner}: {_describe_one(found[0], model)}{more}",
        code=first.code,
        path=first.path,
        problems=problems,
        hint=first.hint,
    )


def _follows(one: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """True for a list that is too short only because what is in it is wrong."""
    place = one["loc"]
    return one["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and other is not one for other in found
    )


def _problem(found: ErrorDetails, model: type[BaseModel]) -> Problem:
    hint = ""
    if found["type"] == "extra_forbidden":
        name = str(found["loc"][-1])
        hint = did_you_mean(name, _fields_at(model, found["loc"][:-1])).strip()
    return Problem(path_of(found["loc"]), _describe_one(found, model), code_of(found), hint)


def _describe_one(problem: ErrorDetails, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        told = f"; known are {', '.join(known)}." if known else ""
        return f"{where} is not a known field{told}{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = _expectation(problem)
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):
        # A check of several fields together; its message names them.
        return f"{where}: {message}" if where else message
    return f"{where or 'value'} is {_shown(problem['input'])}: {message}"


def _expectation(problem: ErrorDetails) -> str:
    """What pydantic says of a problem, in words for people who know no pydantic."""
    for start, words in EXPECTED.items():
        if problem["type"].startswith(start):
            return f"expected {words}"
    limits = problem.get("ctx", {})
    if problem["type"] == "too_short":
        return f"expected at least {limits['min_length']} in the list"
    message = problem["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(String|List|Tuple) should have ", "expected ", message)
    message = re.sub(r"^Input should be ", "expected ", message)
    return message[:1].lower() + message[1:]


def _shown(value: object) -> str:
    try:
        found = repr(value)
    except ValueError:  # Python does not write integers of more than 4300 digits
        return "a huge number"
    return found if len(found) <= 60 else found[:57] + "..."


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The fields of the models that stand at ``path``, which names a union's member by its tag."""
    models = [model]
    for part in path:
        named = [one.model_fields[part] for one in models if part in one.model_fields]
        if named:
            models = [inner for field in named for inner in _models_in(field.annotation)]
        elif isinstance(part, str):
            models = [one for one in models if part in _tags(one)]
    return sorted({name for one in models for name in one.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _tags(model: type[BaseModel]) -> set[Any]:
    """The values of the fields that have a few only, such as ``format: Literal["coco"]``."""
    return {value for field in model.model_fields.values() for value in get_args(field.annotation)}
