"""What the parser of the arguments says, in one line like every other error."""

from __future__ import annotations

from typing import cast

import typer

# Newer typers carry a click of their own, and export only this member of the family.
ClickError = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""Base of what the parser raises: it has ``format_message()`` and ``exit_code``."""


def usage_line(error: Exception) -> str:
    """What is wrong with the arguments, and where to read how they are; "" if help was shown."""
    message = str(getattr(error, "format_message", error.__str__)())
    if type(error).__name__ == "NoArgsIsHelpError":
        if message:  # without rich, help is the message
            typer.echo(message, err=True)
        return ""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "threedis"
    return f"{message.rstrip('.')}; see '{command} --help'"
