"""The families of cases, by name."""

from __future__ import annotations

from cases import Family

from families import coco, depth, layouts, masks

_ALL = (layouts, masks, coco, depth)
FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _ALL}
