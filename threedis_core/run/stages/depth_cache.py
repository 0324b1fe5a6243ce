"""Depth maps on disk, found again by everything that went into them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from threedis_core.cache_home import cache_home
from threedis_core.errors import DepthError
from threedis_core.plugin.interfaces import BackendOptions, DepthRequest
from threedis_core.values.depth import DepthMap

STAMP = "threedis-depth"
"""The keyword of what is stored with a map: its key and its checksum."""


class DepthCache:
    """A folder of depth maps, one 16-bit PNG for each key.

    Args:
        folder: Where they are; made when the first one is stored. None: there is no such place.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)

    @classmethod
    def default(cls) -> DepthCache:
        """``depth`` in $THREEDIS_CACHE, else in $XDG_CACHE_HOME/threedis or ~/.cache/threedis."""
        home = cache_home()
        return cls(None if home is None else home / "depth")

    def file(self, key: str) -> Path:
        """Where the map of ``key`` is, or would be.

        Raises:
            DepthError: There is no place for a cache.
        """
        if self.folder is None:
            raise DepthError("there is no home folder for a cache; set THREEDIS_CACHE to a folder")
        return self.folder / f"{key}.png"

    def load(self, key: str, size: tuple[int, int]) -> DepthMap | None:
        """The map of ``key``, exact to 1/65535; None if there is none.

        Args:
            key: What ``depth_key`` gave.
            size: The (width, height) that the map must have.
        Raises:
            DepthError: It cannot be read, or is damaged, or is another key's.
        """
        file = self.file(key)
        try:
            if not file.exists():
                return None
        except OSError as error:
            raise DepthError(f"{file}: cannot be read: {error.strerror}") from error
        depth = DepthMap.load(file)
        if DepthMap.stored_text(file, STAMP) != _stamp(key, depth):
            raise DepthError(f"{file}: it is not the map that was stored under this name")
        if (depth.width, depth.height) != size:
            raise DepthError(
                f"{file}: {depth.width} x {depth.height} pixels; expected {size[0]} x {size[1]}"
            )
        return depth

    def store(self, key: str, depth: DepthMap) -> None:
        """Keep ``depth``, which is rounded to 16 bits already, complete or not at all.

        Raises:
            DepthError: It cannot be written.
        """
        file = self.file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DepthError(f"{file.parent}: cannot be made: {error.strerror}") from error
        depth.save(file, {STAMP: _stamp(key, depth)})


def _stamp(key: str, depth: DepthMap) -> str:
    """What proves that a file holds the map of ``key``, and all of it."""
    return f"{key} {depth.checksum()}"


def depth_key(
    name: str, options: BackendOptions, request: DepthRequest, versions: Mapping[str, str]
) -> str:
    """A name for the map that a depth model makes, 64 hexadecimal digits.

    It changes with the layout (its ``id`` aside), the seed, the size, the model's name and options,
    the size and time of every local file that an option names, and the versions.
    """
    chosen = options.model_dump(mode="json")
    files = [_state(path) for path in files_in(chosen)]
    content = {
        "layout": {key: value for key, value in request.layout.to_dict().items() if key != "id"},
        "seed": request.seed,
        "size": [request.width, request.height],
        "model": name,
        "options": chosen,
        "files": files,
        "versions": dict(versions),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def files_in(options: Any) -> list[Path]:
    """Every local file that a text in plain options names, or that is in a folder that it names."""
    return [path for text in _texts(options) for path in _files(text)]


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, Any]", value).values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _texts(item)


def _files(text: str) -> list[Path]:
    """The files that ``text`` names: itself, or all files in the folder that it is."""
    if not text:  # as a path it would be the whole working folder
        return []
    try:
        path = Path(text).expanduser().resolve()
        if path.is_dir():
            return sorted(found for found in path.rglob("*") if found.is_file())
        return [path] if path.is_file() else []
    except (OSError, RuntimeError, ValueError):  # most texts are no paths at all
        return []


def _state(path: Path) -> list[Any]:
    try:
        stat = path.stat()
    except OSError:  # a dangling link in a model's folder
        return [str(path)]
    return [str(path), stat.st_size, stat.st_mtime_ns]
