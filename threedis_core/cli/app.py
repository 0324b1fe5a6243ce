"""Put the command line together and run it: errors are one line each, and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

import typer
from typer.core import TyperGroup
from typer.main import get_group

from threedis_core.cli import streams
from threedis_core.cli.arguments import (
    JSON_ERRORS,
    Debug,
    JsonErrors,
    Quiet,
    Verbose,
    accept_anywhere,
)
from threedis_core.cli.compare.bench import add_bench_commands
from threedis_core.cli.compare.group import compare_app
from threedis_core.cli.depth.group import depth_app
from threedis_core.cli.doctor import doctor_command
from threedis_core.cli.layout import layout_app
from threedis_core.cli.new_plugin.command import new_plugin_command
from threedis_core.cli.plugin_commands import add_plugin_commands
from threedis_core.cli.plugins import plugins_command
from threedis_core.cli.run.render import EXAMPLES, render_command
from threedis_core.cli.run.setup import EXAMPLES as SETUP_EXAMPLES
from threedis_core.cli.run.setup import setup_command
from threedis_core.cli.run.sheet import sheet_command
from threedis_core.cli.schemas import config_app
from threedis_core.cli.state import CliState, state_of
from threedis_core.errors import InputError, PluginError, ThreeDISError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.failures import reason_of
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.version import __version__

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Ending:
    """The exit code, and the error line; "" if nothing is to be said.

    ``error`` is the same as data where there is more to know than the line.
    """

    code: int = 0
    line: str = ""
    error: ThreeDISError | None = None

    def told(self, as_json: bool) -> str:
        """What to print: the line for people, or a JSON document of one line."""
        if not as_json:
            return f"error: {streams.one_line(self.line)}"
        error = self.error or ThreeDISError(self.line)
        return json.dumps(error.to_dict() | {"message": self.line, "exit_code": self.code})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 1 (something failed), 2 (bad input) or 130 (Ctrl-C)."""
    streams.take_any_text()
    given = sys.argv[1:] if arguments is None else list(arguments)
    # Looked for here: a command line that cannot be understood has set nothing yet.
    as_json = JSON_ERRORS in given
    with streams.Logs() as logs:
        ending = _run(given, logs)
    problem = streams.deliver()
    if isinstance(problem, BrokenPipeError):  # who reads has seen enough
        ending = Ending(ending.code or EXIT_FAILED)
    elif problem is not None:
        line = _full(problem) or str(problem)
        ending = Ending(EXIT_FAILED, line, _system_error(line))
    if ending.line:
        streams.fail(ending.told(as_json))
    sys.exit(ending.code)


def build_app(registry: PluginRegistry) -> TyperGroup:
    """The commands of the core and of every plugin in ``registry``."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXAMPLES,
    )
    bench = typer.Typer(no_args_is_help=True, help="Measure renderers; plugins add benchmarks.")
    add_bench_commands(bench)
    app.callback()(_root)
    app.command("render", epilog=EXAMPLES)(render_command)
    app.command("sheet")(sheet_command)
    app.command("plugins")(plugins_command)
    app.command("new-plugin")(new_plugin_command)
    app.command("doctor")(doctor_command)
    app.command("setup", epilog=SETUP_EXAMPLES)(setup_command)
    app.add_typer(layout_app(), name="layout")
    app.add_typer(config_app(), name="config")
    app.add_typer(depth_app(), name="depth")
    app.add_typer(compare_app(), name="compare")
    app.add_typer(bench, name="bench")
    group = get_group(app)
    add_plugin_commands(registry, group, cast("TyperGroup", group.commands["bench"]))
    accept_anywhere(group)
    return group


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"threedis {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    debug: Debug = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    _json_errors: JsonErrors = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Turn a layout into a depth map, and a depth map into pictures with any base model."""
    state_of(context).obey(debug, verbose, quiet)


def _run(arguments: list[str], logs: streams.Logs) -> Ending:
    state: CliState | None = None
    try:
        with streams.plugins_print_to_stderr():
            state = CliState(load_plugins(), logs)
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
    except streams.ClickError as error:
        line = streams.usage_line(error, arguments)
        code = getattr(error, "exit_code", EXIT_BAD_INPUT)
        return Ending(code, line, InputError(line, code="usage"))
    except InputError as error:
        return _told(error, EXIT_BAD_INPUT, state)
    except ThreeDISError as error:
        return _told(error, EXIT_FAILED, state)
    except OSError as error:
        return _told(error, EXIT_FAILED, state, _full(error))
    except (SystemExit, GeneratorExit) as error:  # no command of ours ends in this way
        if isinstance(error.__context__, BrokenPipeError):  # but rich does when its reader leaves
            return Ending(EXIT_FAILED)
        return _told(error, EXIT_FAILED, state, f"a plugin ended the program: {reason_of(error)}")
    return Ending()


def _told(error: BaseException, code: int, state: CliState | None, line: str = "") -> Ending:
    if state is not None and state.debug:
        traceback.print_exception(error)
    line = line or str(error) or type(error).__name__
    if isinstance(error, OSError):
        return Ending(code, line, _system_error(line))
    return Ending(code, line, error if isinstance(error, ThreeDISError) else PluginError(line))


def _system_error(line: str) -> ThreeDISError:
    return ThreeDISError(line, code="output-failed")


def _full(error: OSError) -> str:
    """What to say of an error that tells no file; "" if it says enough itself."""
    return "" if error.filename else f"the output cannot be written: {error.strerror or error}"
