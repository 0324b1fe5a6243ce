"""Add the commands of plugins; one plugin's broken command does not break the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from threedis_core.cli.streams import ClickError
from threedis_core.errors import PluginError, ThreeDISError
from threedis_core.plugin.failures import PLUGIN_PATIENCE, failures_named, reason_of, waiting_named
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry


def add_plugin_commands(registry: PluginRegistry, app: TyperGroup, bench: TyperGroup) -> None:
    """Let every plugin add commands to ``app`` and ``bench``.

    A command whose name is taken is left out; if anything raises, all of the plugin's commands
    are. Both are reported in ``registry.failures``.
    """
    for plugin, source in registry.plugins:
        own_app, own_bench = typer.Typer(), typer.Typer()
        try:
            with (
                failures_named("its commands", "are left out", PluginError),
                waiting_named(f"plugin {source} ({source.module}) to register", PLUGIN_PATIENCE),
            ):
                registry.call(plugin, "threedis_register_commands", app=own_app, bench=own_bench)
                made = [(app, get_group(own_app)), (bench, get_group(own_bench))]
        except ThreeDISError as error:
            registry.report_failure(source, str(error))
            continue
        for target, own in made:
            for reason in _add(target, own, source):
                registry.report_failure(source, reason)


def _add(target: TyperGroup, own: TyperGroup, source: PluginSource) -> Iterator[str]:
    """Move the commands of ``own`` into ``target``; yield what keeps one out."""
    for name, command in own.commands.items():
        if name in target.commands:
            yield f"its command '{name}' is left out: there is one of that name already"
            continue
        _name_failures(command, f"command '{name}' of {source}")
        target.commands[name] = command


def _name_failures(command: Any, who: str) -> None:
    if command.callback is not None:
        command.callback = _named(command.callback, who)
    for inner in getattr(command, "commands", {}).values():
        _name_failures(inner, who)


def _named(callback: Callable[..., Any], who: str) -> Callable[..., Any]:
    """``callback``, which may exit, refuse and be stopped as every command; else it is named."""

    @wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return callback(*arguments, **options)
        except (typer.Exit, typer.Abort, ClickError, ThreeDISError, OSError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a plugin may raise anything
            raise PluginError(f"{who} failed: {reason_of(error)}") from error

    return call
