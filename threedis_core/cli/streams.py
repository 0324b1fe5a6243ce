"""What goes to stdout and stderr: only what prints, in any encoding, and nothing of a plugin."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO, cast

import typer

from threedis_core.files.printable import printable

LONGEST_LINE = 2000
NOTE = "threedis: "
"""How lines on stderr begin that say how the work goes."""
WAITING, WARNINGS = "threedis_core.waiting", "threedis_core.warnings"
_core = logging.getLogger("threedis_core")
_own = logging.getLogger("threedis_core.cli")
STDOUT, STDERR = 1, 2

# Newer typers carry a click of their own, and export only this member of the family.
ClickError = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""Base of what the parser raises: it has ``format_message()`` and ``exit_code``."""


def echo(text: str | os.PathLike[str]) -> None:
    """Print one line: a result."""
    typer.echo(printable(text, LONGEST_LINE * 2))  # twice: a path may have 4096 characters


def tell(text: str) -> None:
    """Print one line on stderr, what is going on; not if the command is to be quiet."""
    if is_quiet():
        return
    typer.echo(one_line(text), err=True)


def warn(text: str) -> None:
    """Print one line on stderr, marked as a warning; not if the command is to be quiet."""
    if is_quiet():
        return
    typer.echo(f"warning: {one_line(text)}", err=True)


def note(text: str) -> None:
    """Print one line on stderr that says how the work goes."""
    with suppress(OSError):  # nobody reads it any more: that is no reason to stop
        typer.echo(NOTE + one_line(text), err=True)


def is_quiet() -> bool:
    """True if results and errors alone are to be printed."""
    return not _own.isEnabledFor(logging.WARNING)


class Logs(logging.Handler):
    """Prints log lines on stderr while it is entered: what is waited for, or more of it."""

    def __init__(self) -> None:
        super().__init__()
        self._verbose = False
        self._before: dict[logging.Logger, int] = {}

    def __enter__(self) -> Logs:
        self._listen(_core, logging.NOTSET)
        self._before[_own] = _own.level
        return self

    def __exit__(self, *error: object) -> None:
        for logger, level in self._before.items():
            logger.removeHandler(self)
            logger.setLevel(level)
        self._before.clear()

    def show(self, verbose: int, quiet: bool, packages: Iterable[str] = ()) -> None:
        """Choose what is printed.

        Args:
            verbose: 0: what is waited for; 1: what is going on too; 2: everything.
            quiet: Nothing at all; ``warn`` and ``tell`` print nothing either.
            packages: Of plugins; what their own loggers say belongs to it.
        """
        if quiet:
            _own.setLevel(logging.ERROR)
        if verbose:
            self._verbose = True
            for package in {_core.name, *packages}:
                logger = logging.getLogger(package)
                self._listen(logger, logging.DEBUG if verbose > 1 else logging.INFO)

    def _listen(self, logger: logging.Logger, level: int) -> None:
        self._before.setdefault(logger, logger.level)
        logger.addHandler(self)
        logger.setLevel(level or logger.level)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as one line, if it is to be seen."""
        waiting = record.name == WAITING
        if is_quiet() or record.name == WARNINGS:  # which the command prints itself
            return
        if not (waiting or self._verbose):
            return
        text = self.format(record)  # with its traceback, if it has one
        with suppress(OSError, ValueError):  # nobody reads stderr, or it is closed
            print(one_line(text if waiting else f"{record.name}: {text}"), file=sys.stderr)


def fail(line: str) -> None:
    """Print the line on stderr that says why the program ended."""
    with suppress(OSError):  # whoever read stderr has gone: there is nobody left to tell
        print(line, file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """``text`` fit for one line of a terminal, of a sensible length."""
    return printable(" ".join(text.split()), LONGEST_LINE)


def usage_line(error: Exception, arguments: Sequence[str] = ()) -> str:
    """What is wrong with the arguments, and where to read how they are; "" if help was shown."""
    message = str(getattr(error, "format_message", error.__str__)())
    if type(error).__name__ == "NoArgsIsHelpError":
        if message:  # without rich, help is the message
            typer.echo(message, err=True)
        return ""
    options = [one for one in getattr(getattr(error, "param", None), "opts", ()) if one[:1] == "-"]
    if options and message.startswith("Invalid value for "):
        message = _about_value(message, max(options, key=len), arguments)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "threedis"
    return f"{message.rstrip('.')}; see '{command} --help'"


def _about_value(message: str, option: str, arguments: Sequence[str]) -> str:
    """What the parser says of an option's value, with that value, as our own errors say it."""
    reason = message.partition(": ")[2].removeprefix("Value error, ")
    reason = re.sub(r"^Input should be (?:a valid )?", "expected ", reason.partition(", unable")[0])
    for word, said in (("integer", "a whole number"), ("number", "a number")):
        reason = re.sub(f"^expected {word}$", f"expected {said}", reason)
    following = (*arguments[1:], "")
    for word, after in reversed(list(zip(arguments, following, strict=True))):
        name, sign, value = word.partition("=")
        if name == option:
            return f"{option} {value if sign else after:.60}: {reason}"
    return f"{option}: {reason}"


@contextmanager
def plugins_print_to_stderr() -> Generator[None]:
    """Send what plugins print to stderr: stdout is for the command's own result.

    So is what C libraries and other processes write to file descriptor 1.
    """
    with redirect_stdout(sys.stderr), _descriptor_to_stderr():
        yield


@contextmanager
def _descriptor_to_stderr() -> Generator[None]:
    try:
        own = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    except OSError:  # one of them is closed: then nobody reads it
        yield
        return
    try:
        yield
    finally:
        os.dup2(own, STDOUT)
        os.close(own)


def take_any_text() -> None:
    """Let stdout and stderr write what their encoding cannot as an escape, not fail."""
    for stream in _own_streams():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def deliver() -> OSError | None:
    """Write what stdout still holds; say why it cannot be written, if so."""
    problem: OSError | None = None
    for stream in _own_streams():
        try:
            stream.flush()
        except OSError as error:
            problem = problem or error
            _give_up(stream)
    return problem


def _own_streams() -> tuple[TextIO, ...]:
    found: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    return tuple(stream for stream in found if stream is not None)  # None: closed by the caller


def _give_up(stream: TextIO) -> None:
    """Let what cannot be written go nowhere; Python would try again when it ends, and complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
