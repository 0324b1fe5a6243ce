"""The versions of everything that decides what a run makes."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from threedis_core.plugin.registrations import PluginSource
from threedis_core.version import __version__

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


def library_versions() -> dict[str, str]:
    """Versions of ThreeDIS, Python and the model libraries that are installed."""
    versions = {"threedis": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # not every renderer needs every library
    return versions


def with_plugins(versions: Mapping[str, str], sources: Iterable[PluginSource]) -> dict[str, str]:
    """``versions`` and those of the plugins that take part."""
    return {source.distribution: source.version for source in sources} | dict(versions)
