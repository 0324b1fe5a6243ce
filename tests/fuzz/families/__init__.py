"""The families of cases, by name."""

from __future__ import annotations

from cases import Family

from families import (
    coco,
    configs,
    depth,
    environments,
    filesystems,
    layouts,
    masks,
    options,
    plugins,
    security,
)

_ALL = (
    layouts,
    masks,
    coco,
    depth,
    configs,
    options,
    plugins,
    environments,
    filesystems,
    security,
)
FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _ALL}
