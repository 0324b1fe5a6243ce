"""Add the commands of plugins; one plugin's broken command does not break the command line."""

from __future__ import annotations

import typer
from typer.main import get_group

from threedis_core.errors import PluginError
from threedis_core.plugin.registry import PluginRegistry


def add_plugin_commands(registry: PluginRegistry, app: typer.Typer, bench: typer.Typer) -> None:
    """Let every plugin add commands to ``app`` and ``bench``: all of its commands or none.

    A plugin that raises, or whose command's name is taken, is reported in ``registry.failures``.
    """
    for plugin, source in registry.plugins:
        own_app, own_bench = typer.Typer(), typer.Typer()
        try:
            registry.call(plugin, "threedis_register_commands", app=own_app, bench=own_bench)
            _check_names(own_app, app)
            _check_names(own_bench, bench)
        except Exception as error:  # a plugin may raise anything
            registry.report_failure(source, f"its commands are left out: {error}")
            continue
        for target, own in ((app, own_app), (bench, own_bench)):
            target.registered_commands += own.registered_commands
            target.registered_groups += own.registered_groups


def _check_names(own: typer.Typer, target: typer.Typer) -> None:
    """Build the commands, so that a wrong one fails here, and refuse names that are taken."""
    taken = get_group(own).commands.keys() & get_group(target).commands.keys()
    if taken:
        raise PluginError(f"the command '{min(taken)}' is there already")
