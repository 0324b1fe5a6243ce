"""Where a part of a pipeline is, from what a person wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path

from threedis_diffusers.model_files.published import PUBLISHED
from threedis_diffusers.model_files.sources import ONE_FILE, ModelSource

GGUF_ENDING = ".gguf"
ENDINGS = (GGUF_ENDING, *ONE_FILE)
"""What a name ends with if it is one file."""
INSIDE = re.compile(
    r"(?P<id>\w[\w.-]*/[\w.-]+)/(?P<inside>[\w][\w./-]*?)(@(?P<revision>[\w./-]+))?"
)
"""owner/name/folder or owner/name/file.gguf, and @revision after it."""
PAGE = re.compile(
    r"https?://[^/]+/(?P<id>[\w.-]+/[\w.-]+)/(blob|resolve|tree)/(?P<revision>[^/]+)"
    r"/(?P<inside>[^?#]+?)/?([?#].*)?"
)
"""A page of the hub, as it is copied from a browser."""
MAIN = "main"
CONFIG = "config.json"


@dataclass(frozen=True)
class PartPlace:
    """Where a part of a pipeline is.

    Args:
        source: The folder or repository, and the folder inside it.
        file: Its weights' path inside, if they are one file; "": a folder as ``save_pretrained``
            writes it.
    """

    source: ModelSource
    file: str = ""


def part_place(name: str, half: bool = False) -> PartPlace:
    """Where a part is; nothing is looked for but what is on this machine.

    Args:
        name: A local folder or file; a hub id, with a folder or a file inside the repository after
            it, and "@revision" after that; or the address of a file's page on the hub.
        half: True to prefer files that hold the weights in float16.
    """
    path, one_file = Path(expanduser(name)), name.endswith(ENDINGS)
    if path.is_dir():
        return PartPlace(ModelSource(name, half=half))
    found = PAGE.fullmatch(name) or INSIDE.fullmatch(name)
    here = path.is_file() or (path.parent.is_dir() and not name.startswith("http"))
    if one_file and (here or found is None):
        return PartPlace(ModelSource(str(path.parent), half=half), path.name)
    if found is None:
        return PartPlace(ModelSource(name, half=half))
    revision = found["revision"]
    at = f"@{revision}" if revision not in (None, MAIN) else ""
    source = ModelSource(found["id"] + at, half=half)
    if found["inside"].endswith(ENDINGS):
        return PartPlace(source, found["inside"])
    return PartPlace(replace(source, subfolder=found["inside"]))


def folder_of(source: ModelSource, part: str) -> ModelSource:
    """The source of a part: as it is named, or in the folder that a pipeline keeps the part in.

    Args:
        source: Where a person says that it is.
        part: Its name in the pipeline.
    Raises:
        WeightsError: The hub cannot be asked in which of the two it is.
    """
    inside, known = replace(source, subfolder=part), PUBLISHED.get(source.repository)
    if source.subfolder:
        return source
    for one in (source, inside):
        if one.on_this_machine(CONFIG) is not None:
            return one
    if known is not None:
        return inside if part in known.parts else source
    if source.is_local or source.has(CONFIG):
        return source
    return inside if inside.has(CONFIG) else source
