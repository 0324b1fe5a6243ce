"""Every error ThreeDIS raises on purpose.

    ThreeDISError
    ├── InputError (also a ValueError)   what a person wrote is wrong; the CLI exits with 2
    │   ├── LayoutError                  a layout file or value
    │   ├── DepthError                   a depth map or its file
    │   ├── DataError                    the examples of a training or a measurement
    │   ├── OptionError                  an option of a backend, a run or the command line
    │   └── UnknownPluginError           a name that nothing is registered under
    ├── PluginError                      a plugin could not be loaded or registered
    ├── WeightsError                     model weights are missing, unreadable or of the wrong kind
    ├── RenderError                      a backend failed while it was working
    ├── Cancelled                        somebody asked the work to stop
    └── DeadlineExceeded                 the work was not done in the time it was given

A message says what is wrong, what was found, what is expected and what to do, in one line. The same
as data: ``code``, ``file``, ``path``, ``problems`` and ``hint``, or all of it with ``to_dict()``.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, TypeVar

CODES: Mapping[str, str] = MappingProxyType(
    {
        "error": "Something else that ThreeDIS raises on purpose.",
        "bad-input": "Something a person wrote is wrong.",
        "bad-layout": "A layout file or value is wrong.",
        "bad-depth": "A depth map or its file is wrong.",
        "bad-data": "The examples of a training or a measurement cannot be used.",
        "bad-option": "An option of a backend, a run or the command line is wrong.",
        "unknown-plugin": "Nothing is registered under that name.",
        "plugin-failed": "A plugin could not be loaded or registered, or its command failed.",
        "bad-weights": "Model weights are unreadable or of the wrong kind.",
        "render-failed": "A backend failed while it was working.",
        "cancelled": "Somebody asked the work to stop.",
        "deadline-exceeded": "The work was not done in the time it was given.",
        "file-not-found": "There is no such file.",
        "file-unreadable": "A file is empty, damaged, of another kind, or cannot be opened.",
        "file-too-large": "A file or a picture is larger than what is read.",
        "file-not-written": "A file cannot be written: its name, its place, or the disk.",
        "folder-taken": "A run's folder holds something else, or another run has it.",
        "unknown-field": "A field or an option that does not exist, such as a misspelt one.",
        "missing-field": "A field that must be there is not.",
        "wrong-value": "A field or an option has a value that does not fit.",
        "too-many-instances": "A layout has more instances than the backend takes.",
        "image-id-needed": "The file holds many layouts, and none was chosen.",
        "image-id-unknown": "The file holds many layouts, and not the one that was chosen.",
        "coloured-depth": "A picture with colours was given as a depth map.",
        "weights-not-found": "A model, or a part of it, is not on this machine.",
        "out-of-memory": "The memory is too small for so many or so large pictures at once.",
        "package-missing": "A Python package is not installed.",
        "usage": "The command line is not one that ThreeDIS understands.",
        "output-failed": "The system refused to write or read while a command was at work.",
    }
)
"""What every code means. Codes stay; new ones may come."""

MOST_IN_BRIEF = 5
MOST_PROBLEMS = 100
"""Of a file with more problems, those after the first so many are not listed."""


@dataclass(frozen=True)
class Problem:
    """One of the things that are wrong with what a person wrote.

    Args:
        path: Where: "instances[3].box"; "" for the whole.
        message: What was found and what is expected, without the place.
        code: One of ``CODES``.
        hint: What to do, if there is more to say than in ``message``.
    """

    path: str
    message: str
    code: str = "wrong-value"
    hint: str = ""


class ThreeDISError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: The one line for people; it holds the place and the hint too.
        code: One of ``CODES``; "" for the class's own.
        file: The file that it is about.
        path: The place in the file or value: "instances[3].box", "renderers.sd15.steps".
        problems: Everything that is wrong, if there is a list.
        hint: What to do.
    """

    code: str = "error"
    file: str = ""
    path: str = ""
    problems: tuple[Problem, ...] = ()
    hint: str = ""

    def __init__(
        self,
        *message: object,
        code: str = "",
        file: str | os.PathLike[str] = "",
        path: str = "",
        problems: Sequence[Problem] = (),
        hint: str = "",
    ) -> None:
        super().__init__(*message)
        self.code = code or type(self).code
        self.file = os.fspath(file)
        self.path = path
        self.problems = tuple(problems)
        self.hint = hint

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data, ready for JSON; fields that say nothing are left out."""
        told = {"error": type(self).__name__, "code": self.code, "message": str(self)}
        return told | _without_empty(
            {
                "file": self.file,
                "path": self.path,
                "hint": self.hint,
                "problems": [_without_empty(asdict(problem)) for problem in self.problems],
            }
        )

    def in_brief(self) -> str:
        """Class, code and places alone, for a log: the line for people may hold what they wrote."""
        places = [self.path, *(problem.path for problem in self.problems)]
        told = ", ".join([place for place in dict.fromkeys(places) if place][:MOST_IN_BRIEF])
        return f"{type(self).__name__} {self.code}" + (f" at {told}" if told else "")


ErrorT = TypeVar("ErrorT", bound=ThreeDISError)


def retold(
    error: ThreeDISError,
    kind: type[ErrorT],
    message: str,
    *,
    file: str | os.PathLike[str] = "",
    path: str = "",
) -> ErrorT:
    """An error of class ``kind`` that says ``message``, with what ``error`` knows.

    Args:
        error: What was caught.
        kind: The class of the new error.
        message: Its line.
        file: The file that it is about, unless ``error`` names one.
        path: Where the value is that ``error`` is about: its own path comes after it.
    """
    return kind(
        message,
        code="" if error.code == type(error).code else error.code,
        file=error.file or file,
        path=joined_path(path, error.path),
        problems=error.problems,
        hint=error.hint,
    )


@contextmanager
def placed(path: str, inside: str = "") -> Generator[None]:
    """Tell errors from inside the block where what they are about stands.

    Args:
        path: Where, in what a person wrote: "depth_model".
        inside: The further way to what an error's own path starts from: "options".
    """
    try:
        yield
    except ThreeDISError as error:
        inner = joined_path(inside, error.path) if error.path else ""
        error.path = joined_path(path, inner)
        raise


def joined_path(outer: str, inner: str) -> str:
    """The path of ``inner`` inside ``outer``: "renderers.sd15" and "steps", "boxes" and "[3]"."""
    separator = "." if outer and inner and not inner.startswith("[") else ""
    return outer + separator + inner


def _without_empty(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value}


class InputError(ThreeDISError, ValueError):
    """What a person wrote is wrong: a file, a value, a name."""

    code = "bad-input"


class LayoutError(InputError):
    """A layout file or value is wrong."""

    code = "bad-layout"


class DepthError(InputError):
    """A depth map or its file is wrong."""

    code = "bad-depth"


class DataError(InputError):
    """The examples of a training or a measurement cannot be used."""

    code = "bad-data"


class OptionError(InputError):
    """An option of a backend, a run or the command line is wrong."""

    code = "bad-option"


class UnknownPluginError(InputError):
    """A name that no renderer, depth model or estimator, refiner or preset is registered under."""

    code = "unknown-plugin"


class PluginError(ThreeDISError):
    """A plugin could not be loaded or registered."""

    code = "plugin-failed"


class WeightsError(ThreeDISError):
    """Model weights are missing, unreadable or of the wrong kind."""

    code = "bad-weights"


class RenderError(ThreeDISError):
    """A backend failed while it was working."""

    code = "render-failed"


class Cancelled(ThreeDISError):  # noqa: N818  it is no error of anybody
    """Somebody asked the work to stop, and it did."""

    code = "cancelled"


class DeadlineExceeded(ThreeDISError):  # noqa: N818  the usual word
    """The work was not done in the time it was given, and stopped."""

    code = "deadline-exceeded"
