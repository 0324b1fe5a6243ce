"""What the commands of one process share."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from threedis_core.cli.streams import Logs, tell
from threedis_core.plugin.registry import PluginRegistry


@dataclass
class CliState:
    """Made by ``main``, passed on as the context's object.

    Args:
        registry: The installed plugins.
        logs: What prints log lines.
        debug: Show tracebacks.
    """

    registry: PluginRegistry
    logs: Logs
    debug: bool = False

    def obey(self, debug: bool = False, verbose: int = 0, quiet: bool = False) -> None:
        """Show as much as is asked, of the plugins' packages too; see ``Logs.show``."""
        self.debug = self.debug or debug
        packages = {source.module.split(":")[0] for _, source in self.registry.plugins}
        self.logs.show(verbose, quiet, {name.split(".")[0] for name in packages} - {""})
        if verbose:
            for failure in self.registry.failures:  # found before anybody asked
                tell(f"threedis_core.plugins: plugin {failure.source}: {failure.reason}")


def state_of(context: typer.Context) -> CliState:
    """The state of the running command line, for a command of any plugin."""
    return context.ensure_object(CliState)
