"""Comparisons: every renderer on the same layouts, depth maps and seeds, judged and tabled.

``compare(...)`` does one in one call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threedis_core.compare.call import Comparison, compare
    from threedis_core.compare.plan.config import CompareConfig
    from threedis_core.compare.work.claim import Shard
    from threedis_core.compare.work.means import Means

_MODULES = {
    "CompareConfig": "plan.config",
    "Comparison": "call",
    "Means": "work.means",
    "Shard": "work.claim",
    "compare": "call",
}

__all__ = ["CompareConfig", "Comparison", "Means", "Shard", "compare"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{module}"), name)
