"""``threedis new-plugin``: write a package that is ready to run, tests included."""

from __future__ import annotations

import keyword
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from threedis_core.cli import streams
from threedis_core.cli.new_plugin import depth, detector, joint, plain, unet
from threedis_core.cli.new_plugin.package import FILES
from threedis_core.errors import OptionError
from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.registrations import NAME


class PluginKind(StrEnum):
    """What the package registers."""

    PLAIN = "plain"
    UNET = "unet"
    JOINT = "joint"
    DEPTH = "depth"
    DETECTOR = "detector"


KINDS = {
    PluginKind.PLAIN: plain.FILES,
    PluginKind.UNET: unet.FILES,
    PluginKind.JOINT: joint.FILES,
    PluginKind.DEPTH: depth.FILES,
    PluginKind.DETECTOR: detector.FILES,
}


def new_plugin_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name for --renderer and the like: my-model.")
    ],
    kind: Annotated[
        PluginKind,
        typer.Option(
            help="plain: a renderer, without a model so far; unet: one on a Stable Diffusion "
            "pipeline with a depth ControlNet; joint: one on a pipeline with joint attention; "
            "depth: a depth model; detector: an instance detector."
        ),
    ] = PluginKind.PLAIN,
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="New folder. Default: threedis-NAME, here.")
    ] = "",
) -> None:
    """Write a plugin to start from: package, options, backend, and tests that pass.

    Then: pip install -e threedis-NAME, pytest threedis-NAME, threedis plugins.
    """
    words = names(name)
    folder = Path(out or words["distribution"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(
            f"'{folder}' is there already; name a new folder with --out", path="--out"
        )
    for path, text in {**FILES, **KINDS[kind]}.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, Template(text.lstrip("\n")).substitute(words).encode())
        streams.echo(file)


def names(name: str) -> dict[str, str]:
    """What a plugin called ``name`` calls its parts.

    Raises:
        OptionError: It cannot be registered, or is no name in Python.
    """
    module = "threedis_" + name.replace("-", "_")
    if not NAME.fullmatch(name) or not module.isidentifier() or keyword.iskeyword(name):
        raise OptionError(
            f"NAME is {name!r}; expected lower case letters, digits, '-' and '_', as in my-model",
            path="NAME",
        )
    title = "".join(word.capitalize() for word in name.replace("_", "-").split("-"))
    title = title if title[0].isalpha() else f"My{title}"
    return {
        "name": name,
        "module": module,
        "title": title,
        "distribution": f"threedis-{name.replace('_', '-')}",
    }
