"""Paths in what a run writes: they find the same files again, and tell no folder of the user's.

``package:threedis_pocket/weights/x`` lies in an installed package, ``run:../models/x`` beside the
run's folder, ``~/models/x`` at home. Other texts, hub ids among them, stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

PACKAGE = "package:"
RUN = "run:"


def portable(value: Any, folder: Path | None, packages: Iterable[str] = ()) -> Any:
    """Plain data with the paths in it that exist on this machine made portable.

    Args:
        value: Plain data: mappings, lists, texts, numbers.
        folder: The folder of the run; None: the working directory.
        packages: Import packages that bring files along.
    """
    homes = {name: home for name in packages if (home := _package_folder(name)) is not None}
    run = _real(folder or Path())
    return _mapped(value, lambda text: _portable_text(text, run, homes))


def at_home(value: Any, folder: Path, *, missing: bool = False) -> Any:
    """Plain data with the portable paths in it made real: the reverse of ``portable``.

    Args:
        value: Plain data.
        folder: The folder of the run that wrote it.
        missing: Make real those too that lead to nothing; a prompt may begin with the same letters.
    """
    return _mapped(value, lambda text: _real_text(text, folder, missing))


def _portable_text(text: str, run: Path, packages: Mapping[str, Path]) -> str:
    path = _existing(text)
    if path is None:
        return text
    for name, home in packages.items():
        if path.is_relative_to(home):
            return PACKAGE + str(Path(name) / path.relative_to(home))
    home = _real(Path("~"))
    if path.is_relative_to(home) and not run.is_relative_to(home):
        return str(Path("~") / path.relative_to(home))
    return RUN + os.path.relpath(path, run)


def _real_text(text: str, folder: Path, missing: bool) -> str:
    if text.startswith(RUN):
        path = Path(os.path.normpath(folder / text.removeprefix(RUN)))
    elif text.startswith(PACKAGE):
        name, _, rest = text.removeprefix(PACKAGE).partition("/")
        path = (_package_folder(name) or folder) / rest
    else:
        return text
    try:
        return str(path) if missing or path.exists() else text
    except (OSError, ValueError):
        return text


def _existing(text: str) -> Path | None:
    """The file or folder that ``text`` names, if it can be nothing but a path.

    A bare word is none: "auto" is an option's value though there be a folder of that name.
    """
    if os.sep not in text:
        return None
    try:
        path = _real(Path(text))
        known = path.exists() or (os.path.isabs(text) and path.parent.is_dir())
        return path if known else None
    except (OSError, RuntimeError, ValueError):  # most texts are no paths at all
        return None


def _real(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except RuntimeError:  # there is no home
        return path.absolute()


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name) if name.isidentifier() else None
    places = spec.submodule_search_locations if spec is not None else None
    return _real(Path(places[0])) if places else None


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every text in it changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: _mapped(item, change) for key, item in items}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in cast("list[Any]", value)]
    return value
