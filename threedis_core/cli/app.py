"""Put the command line together, and turn errors into one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from threedis_core.cli.depth.group import depth_app
from threedis_core.cli.doctor import doctor_command
from threedis_core.cli.layout import layout_app
from threedis_core.cli.plugin_commands import add_plugin_commands
from threedis_core.cli.plugins import plugins_command
from threedis_core.cli.render import EXAMPLES, render_command
from threedis_core.cli.state import CliState, state_of
from threedis_core.errors import InputError, ThreeDISError
from threedis_core.plugin.registry import PluginRegistry, load_plugins
from threedis_core.version import __version__

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 1 (something failed), 2 (bad input) or 130 (Ctrl-C)."""
    state: CliState | None = None
    try:
        state = CliState(load_plugins())
        app = build_app(state.registry)
        app(args=arguments, prog_name="threedis", obj=state)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except InputError as error:
        _fail(error, EXIT_BAD_INPUT, state)
    except (ThreeDISError, OSError) as error:
        _fail(error, EXIT_FAILED, state)


def build_app(registry: PluginRegistry) -> typer.Typer:
    """The commands of the core and of every plugin in ``registry``."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXAMPLES,
    )
    bench = typer.Typer(no_args_is_help=True, help="Measure renderers; plugins add benchmarks.")
    app.callback()(_root)
    app.command("render", epilog=EXAMPLES)(render_command)
    app.command("plugins")(plugins_command)
    app.command("doctor")(doctor_command)
    app.add_typer(layout_app(), name="layout")
    app.add_typer(depth_app(), name="depth")
    app.add_typer(bench, name="bench")
    add_plugin_commands(registry, app, bench)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"threedis {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="THREEDIS_DEBUG", help="Show tracebacks.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Turn a layout into a depth map, and a depth map into pictures with any base model."""
    state_of(context).debug = debug


def _fail(error: Exception, code: int, state: CliState | None) -> NoReturn:
    if state is not None and state.debug:
        traceback.print_exception(error)
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)
