"""The command group ``compare``: a config alone does all stages, ``compare render`` one."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from threedis_core.cli.compare.judges import agreement_command, labels_command
from threedis_core.cli.compare.report import report_command
from threedis_core.cli.compare.stages import (
    EXAMPLES,
    all_command,
    detect_command,
    render_command,
    schema_command,
    score_command,
)

ALL = "all"
"""The command that is meant where none is named."""


class WithDefault(TyperGroup):
    """A group whose first word may be the argument of its command ``all``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the name of the command that is meant."""
        asks_help = not args or args[0] in ("-h", "--help")
        if not asks_help and args[0] not in self.commands:
            args = [ALL, *args]
        return super().parse_args(ctx, args)


def compare_app() -> typer.Typer:
    """The command group ``compare``."""
    app = typer.Typer(
        cls=WithDefault,
        no_args_is_help=True,
        help="Compare renderers on the same layouts, depth maps and seeds. COMMAND may be the "
        "config of a comparison: then all stages are done.",
        epilog=EXAMPLES,
    )
    app.command(ALL, epilog=EXAMPLES)(all_command)
    app.command("render")(render_command)
    app.command("detect")(detect_command)
    app.command("score")(score_command)
    app.command("report")(report_command)
    app.command("labels")(labels_command)
    app.command("agreement")(agreement_command)
    app.command("schema")(schema_command)
    return app
