"""The command line as a process: its errors are one line each, and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import typer

from threedis_core.cli import streams
from threedis_core.cli.app import build_app
from threedis_core.cli.state import CliState
from threedis_core.cli.usage import ClickError, usage_line
from threedis_core.errors import InputError, ThreeDISError
from threedis_core.plugin.failures import reason_of
from threedis_core.plugin.registry import load_plugins

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Ending:
    """The exit code, and the error line; "" if nothing is to be said."""

    code: int = 0
    line: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 1 (something failed), 2 (bad input) or 130 (Ctrl-C)."""
    streams.take_any_text()
    ending = _run(sys.argv[1:] if arguments is None else list(arguments))
    problem = streams.deliver()
    if isinstance(problem, BrokenPipeError):  # who reads has seen enough
        ending = Ending(ending.code or EXIT_FAILED)
    elif problem is not None:
        ending = Ending(EXIT_FAILED, f"the output cannot be written: {problem.strerror}")
    if ending.line:
        streams.fail(ending.line)
    sys.exit(ending.code)


def _run(arguments: list[str]) -> Ending:
    state: CliState | None = None
    try:
        with streams.plugins_print_to_stderr():
            state = CliState(load_plugins())
            app = build_app(state.registry)
        with app.make_context("threedis", arguments, obj=state) as context:
            app.invoke(context)
    except typer.Exit as error:
        return Ending(error.exit_code)
    except (typer.Abort, EOFError):
        return Ending(EXIT_FAILED, "stopped: no answer was given")
    except KeyboardInterrupt:
        return Ending(EXIT_INTERRUPTED)
    except BrokenPipeError:
        return Ending(EXIT_FAILED)
    except ClickError as error:
        return Ending(getattr(error, "exit_code", EXIT_BAD_INPUT), usage_line(error))
    except InputError as error:
        return _told(error, EXIT_BAD_INPUT, state)
    except (ThreeDISError, OSError) as error:
        return _told(error, EXIT_FAILED, state)
    except (SystemExit, GeneratorExit) as error:  # no command of ours ends in this way
        return _told(error, EXIT_FAILED, state, f"a plugin ended the program: {reason_of(error)}")
    return Ending()


def _told(error: BaseException, code: int, state: CliState | None, line: str = "") -> Ending:
    if state is not None and state.debug:
        traceback.print_exception(error)
    return Ending(code, line or str(error) or type(error).__name__)
