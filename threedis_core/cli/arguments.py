"""Arguments and options that commands take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError

_LAYOUT = typer.Argument(help="Layout file, JSON or YAML; COCO with --image-id.")

LayoutFile = Annotated[Path, _LAYOUT]
LayoutFiles = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="LAYOUT...", help="Layout files, JSON or YAML; or one of COCO with --image-id."
    ),
]
ImageId = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Id of a picture in a COCO or COCO-MIG file; its place (0, 1, ...) if it has no ids.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", envvar="THREEDIS_DEBUG", help="Show tracebacks.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say what is going on; -vv: everything.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
JSON_ERRORS = "--json-errors"
JsonErrors = Annotated[
    bool, typer.Option(JSON_ERRORS, help="Print an error as one JSON document, on stderr.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DepthCached = Annotated[
    bool | None,
    typer.Option(
        "--depth-cache/--no-depth-cache",
        help="Use a depth map that was made before, and keep new ones. Default: yes.",
    ),
]
DepthTries = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="How many depth maps to make; the one with most instances in place is used. "
        "Default: as many as the depth model wants, mostly 1.",
    ),
]
RendererNames = Annotated[
    list[str] | None,
    typer.Option(
        "--renderer",
        metavar="NAME[@LABEL]",
        help="Renderer or preset; repeat for several. A label tells the same one apart.",
    ),
]
Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="INTEGER", help="Seed; repeat for several."),
]
OptionSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[NAME.]OPTION=VALUE",
        help="Option of every renderer (each must know it), or of the one named; values are YAML.",
    ),
]
Width = Annotated[int | None, typer.Option(min=1, help="Picture width in pixels.")]
Height = Annotated[int | None, typer.Option(min=1, help="Picture height in pixels.")]
Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Picture size in pixels, as 768x512, or one side: 512."),
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Denoising steps of every renderer. Default: each one's own."),
]
Guidance = Annotated[
    float | None,
    typer.Option(min=0, help="Guidance scale of every renderer. Default: each one's own."),
]
NegativePrompt = Annotated[
    str | None,
    typer.Option(
        "--negative",
        metavar="TEXT",
        help="What the pictures should not show. Default: what the layout says.",
    ),
]


class Hook(StrEnum):
    """Whether the instances' regions follow their own prompts."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


HookSwitch = Annotated[
    Hook | None,
    typer.Option(
        "--hook",
        help="Let each region follow its own prompt; off: the base model alone; both: a picture of "
        "either kind. Default: on.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Run settings (YAML), or the run.json of an earlier run.")
]


def parse_size(text: str) -> tuple[int, int]:
    """The (width, height) that ``--size`` says: "768x512", or "512" for a square.

    Raises:
        OptionError: It says something else.
    """
    sides = re.fullmatch(r"(\d{1,9})(?:[xX×](\d{1,9}))?", text.strip())
    if sides is None:
        raise OptionError(
            f"--size {text:.60}: expected width x height in pixels, such as 768x512, or one side"
        )
    return int(sides[1]), int(sides[2] or sides[1])


def parse_seeds(texts: Iterable[str]) -> tuple[int, ...]:
    """The seeds that the ``--seed`` options of one command name, in order.

    Raises:
        OptionError: One is no whole number.
    """
    return tuple(_seed(text) for text in texts)


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python refuses numbers of more than 4300 digits, too
        raise OptionError(
            f"--seed {text:.60}: expected a whole number, such as 7",
            code="wrong-value",
            path="seeds",
        ) from None


def accept_anywhere(command: Any) -> None:
    """Let every command in a group take the options of ``threedis`` itself, where it has none such.

    ``threedis render scene.yaml -v`` is what people write.
    """
    for inner in getattr(command, "commands", {}).values():
        accept_anywhere(inner)
        taken = {word for own in inner.params for word in (*own.opts, *own.secondary_opts)}
        inner.params += [option for option in _anywhere() if taken.isdisjoint(option.opts)]


def _anywhere() -> list[Any]:
    app = typer.Typer(add_completion=False)

    @app.command()
    def _(
        debug: Debug = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
        json_errors: JsonErrors = False,
    ) -> None: ...

    options: list[Any] = list(get_command(app).params)
    for option in options:
        option.expose_value, option.hidden, option.callback = False, True, _obeyed
    return options


def _obeyed(context: Any, option: Any, value: Any) -> None:
    if value and option.name != "json_errors":  # which main has seen already
        state_of(context).obey(**{option.name: value})
