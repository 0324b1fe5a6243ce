"""Validate what a person wrote against a pydantic model, with errors of one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from threedis_core.errors import OptionError
from threedis_core.files.printable import printable
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
        if name not in model.model_fields and name not in former_names(model):
            known = sorted(model.model_fields)
            raise OptionError(
                f"Unknown option '{name}' for {owner}. It knows: {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise OptionError(f"{owner}: {describe(error, model)}") from error
    except UnicodeEncodeError as error:  # pydantic cannot put such a text into its message
        text = printable(error.object, 60)
        raise OptionError(f"{owner}: '{text}' has bytes that are no text; expected UTF-8") from None


def former_names(model: type[BaseModel]) -> set[str]:
    """Names under which fields of ``model`` are understood beside their own."""
    aliases = [field.validation_alias for field in model.model_fields.values()]
    choices = [alias.choices for alias in aliases if isinstance(alias, AliasChoices)]
    return {name for some in choices for name in some if isinstance(name, str)}


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a validation error in one line, and how many more there are."""
    problems = error.errors()
    # A misspelt field comes first: it is why another one is missing.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _describe_one(problems[0], model) + more


def _describe_one(problem: ErrorDetails, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        told = f"; known are {', '.join(known)}." if known else ""
        return f"{where} is not a known field{told}{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = message[:1].lower() + message[1:]
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):
        # A check of several fields together; its message names them.
        return f"{where}: {message}" if where else message
    return f"{where or 'value'} is {_shown(problem['input'])}: {message}"


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
