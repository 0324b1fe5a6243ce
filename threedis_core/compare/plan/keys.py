"""Keys: hashes of all that decides what is made, and so the names of its files."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from threedis_core.compare.plan.models import PlannedDepthModel, PlannedSystem

DIGITS = 32
"""Hexadecimal digits of a key; two of a million jobs share one once in 10**26 comparisons."""


def key_of(content: Any) -> str:
    """A hash of plain data."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def depth_model_content(model: PlannedDepthModel) -> dict[str, Any]:
    """All of a depth model that decides its maps."""
    return {"depth model": model.model_dump(mode="json")}


def system_content(system: PlannedSystem) -> dict[str, Any]:
    """All of a system that decides its pixels; the most of a batch does so through the batches."""
    return {"system": system.model_dump(mode="json", exclude={"batch_size"})}
