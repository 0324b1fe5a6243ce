"""The ``threedis`` command line."""

from threedis_core.cli.app import build_app, main
from threedis_core.cli.state import CliState, state_of

__all__ = ["CliState", "build_app", "main", "state_of"]
