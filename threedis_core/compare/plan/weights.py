"""Fingerprints of weights, so that others under the same name are noticed before work goes on."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from threedis_core.errors import ThreeDISError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Backend
from threedis_core.run.record.portable_paths import portable
from threedis_core.run.stages.depth_cache import files_in

WHOLE = 32 * 2**20
"""Bytes up to which a file is read whole."""
SAMPLES, SAMPLE = 64, 64 * 2**10
"""Of a larger file: so many pieces of so many bytes, from its beginning to its end."""
NO_WEIGHTS = (".md", ".png", ".jpg")
"""Beside a model lies what says and shows what it is."""
HUB_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def fingerprints(backend: Backend, folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """A fingerprint of every file of weights that a backend would read, as far as it is here.

    Args:
        backend: The backend; nothing of it is loaded.
        folder: The comparison's folder; paths are told relative to it.
        packages: Import packages that bring files along.
    """
    options = backend.options.model_dump(mode="json")
    found = dict.fromkeys(
        path
        for path in (*files_in(options), *_inspected(backend))
        if path.suffix.lower() not in NO_WEIGHTS and not path.name.startswith(".")
    )
    return {str(portable(str(path), folder, packages)): _fingerprint(path) for path in found}


def _inspected(backend: Backend) -> Iterator[Path]:
    """The files that a backend says it needs, those that are here."""
    inspect = getattr(backend, "inspect", None)
    try:
        inspection = inspect() if inspect is not None else Inspection()
    except ThreeDISError:  # when it is to work it will say what is wrong
        return
    for part in inspection.parts:
        for file in part.files:
            if file.present and "*" not in file.path:
                yield from _place(part.source, file.path)


def _place(source: str, file: str) -> Iterator[Path]:
    local = Path(source).expanduser() / file
    if local.is_file():
        yield local.resolve()
    elif find_spec("huggingface_hub") is not None:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        repository, _, revision = source.partition("@")
        try:
            found = try_to_load_from_cache(repository, file, revision=revision or None)
        except HFValidationError:  # it is no repository's name
            return
        if isinstance(found, str):
            yield Path(found)


def _fingerprint(path: Path) -> str:
    real = Path(os.path.realpath(path))
    if HUB_DIGEST.fullmatch(real.name):  # the hub's cache names files by their content
        return real.name
    try:
        stat = real.stat()
        return _sampled(real, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return "unreadable"


@lru_cache(maxsize=4096)
def _sampled(path: Path, size: int, _changed: int) -> str:
    """SHA-256 of a file's size and content; of a large file's pieces, since all takes minutes."""
    digest = hashlib.sha256(f"{size} ".encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            digest.update(file.read())
        else:
            for number in range(SAMPLES):
                file.seek((size - SAMPLE) * number // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()
