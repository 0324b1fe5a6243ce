"""Find installed plugins and load them; broken metadata costs its own plugin, no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from threedis_core.errors import PluginError
from threedis_core.plugin.failures import (
    PLUGIN_PATIENCE,
    import_failed,
    reason_of,
    waiting_named,
)
from threedis_core.plugin.registrations import PluginFailure, PluginSource
from threedis_core.plugin.registry import PluginRegistry

ENTRY_POINT_GROUP = "threedis"
CORE = "threedis"

Found = tuple[PluginSource, EntryPoint]


def load_plugins(found: Iterable[EntryPoint | Distribution] | None = None) -> PluginRegistry:
    """Make a registry of every installed plugin, the built-in ones included.

    Args:
        found: Entry points to load, or distributions to look for some in; None means all that are
            installed, of the group ``threedis``.
    Returns:
        The registry; plugins that do not work are in its ``failures``.
    """
    points, unreadable = find_plugins(found)
    registry = PluginRegistry()
    for failure in unreadable:
        registry.report_failure(failure.source, failure.reason)
    for source, point in points:
        who = f"plugin {source} ({source.module})"
        try:
            with waiting_named(f"{who} to be imported", PLUGIN_PATIENCE):
                plugin: object = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything while it is imported
            registry.report_failure(source, import_failed(error))
            continue
        try:
            with waiting_named(f"{who} to register what it has", PLUGIN_PATIENCE):
                registry.add(plugin, source)
        except PluginError as error:
            registry.report_failure(source, str(error))
    registry.drop_broken_presets()
    return registry


def find_plugins(
    found: Iterable[EntryPoint | Distribution] | None = None,
) -> tuple[list[Found], list[PluginFailure]]:
    """The entry points of the group ``threedis``: our own first, then by distribution and name.

    Args:
        found: Entry points, or distributions to look into; None means those on ``sys.path``.
    Returns:
        The entry points with where they come from, and the distributions that cannot be read.
    """
    by_name: dict[str, list[Found]] = {}
    failures: list[PluginFailure] = []
    for distribution in distributions() if found is None else found:
        if isinstance(distribution, EntryPoint):
            own = [(_source(distribution), distribution)]
            by_name.setdefault(f"{len(by_name)}", own)  # whoever names it wants just this one
            continue
        try:
            own = list(_entry_points(distribution))
        except Exception as error:  # importlib.metadata raises many kinds on files that are no text
            reason = f"its metadata cannot be read: {reason_of(error)}; install it again"
            failures.append(PluginFailure(PluginSource(_folder(distribution)), reason))
            continue
        for source, _ in own[:1]:
            # The same one may be there twice; the first on the path is the one that is imported.
            by_name.setdefault(_normalised(source.distribution), own)
    return sorted((one for own in by_name.values() for one in own), key=_ours_first), failures


def _entry_points(distribution: Distribution) -> Iterator[Found]:
    text = distribution.read_text("entry_points.txt")
    if text is None or f"[{ENTRY_POINT_GROUP}]" not in text:
        return  # most installed distributions: nothing of theirs is read any further
    points = [point for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
    metadata = distribution.metadata
    name, version = metadata["Name"], metadata["Version"]
    if not name or not version:
        raise PluginError("METADATA is missing, or names no distribution and version")
    for point in points:
        yield PluginSource(name, version, point.value), point


def _source(point: EntryPoint) -> PluginSource:
    if point.dist is None:
        return PluginSource(point.name, "", point.value)
    return PluginSource(point.dist.name, point.dist.version, point.value)


def _ours_first(found: Found) -> tuple[bool, str, str]:
    source, point = found
    name = _normalised(source.distribution)
    return name != CORE, name, point.name


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folder(distribution: Distribution) -> str:
    """The name of the folder with the metadata; what it should say itself is not to be had."""
    path = getattr(distribution, "_path", None)
    return Path(str(path)).name if path is not None else "a distribution without a name"
