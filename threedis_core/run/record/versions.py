"""The versions of everything that decides what a run makes."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from threedis_core.plugin.registrations import PluginSource
from threedis_core.version import __version__

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


def versions_with(sources: Iterable[PluginSource]) -> dict[str, str]:
    """Versions of ThreeDIS, Python, the model libraries and the plugins that take part."""
    versions = {"threedis": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # not every renderer needs every library
    plugins = {source.distribution: source.version for source in sources}
    return versions | {name: plugins[name] for name in sorted(plugins.keys() - versions.keys())}
