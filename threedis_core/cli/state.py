"""What the commands of one process share."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from threedis_core.plugin.registry import PluginRegistry


@dataclass
class CliState:
    """Made by ``main``, passed on as the context's object.

    Args:
        registry: The installed plugins.
        debug: Show tracebacks.
    """

    registry: PluginRegistry
    debug: bool = False


def state_of(context: typer.Context) -> CliState:
    """The state of the running command line, for a command of any plugin."""
    return context.ensure_object(CliState)
