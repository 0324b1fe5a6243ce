"""Put the command line together: our own commands, and those of plugins."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from typer.core import TyperGroup
from typer.main import get_group

from threedis_core.cli.depth.group import depth_app
from threedis_core.cli.doctor import doctor_command
from threedis_core.cli.layout import layout_app
from threedis_core.cli.plugin_commands import add_plugin_commands
from threedis_core.cli.plugins import plugins_command
from threedis_core.cli.render import EXAMPLES, render_command
from threedis_core.cli.state import state_of
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.version import __version__


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
    app.callback()(_root)
    app.command("render", epilog=EXAMPLES)(render_command)
    app.command("plugins")(plugins_command)
    app.command("doctor")(doctor_command)
    app.add_typer(layout_app(), name="layout")
    app.add_typer(depth_app(), name="depth")
    app.add_typer(bench, name="bench")
    group = get_group(app)
    add_plugin_commands(registry, group, cast("TyperGroup", group.commands["bench"]))
    return group


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
