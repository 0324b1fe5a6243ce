"""How much of each instance the depth maps of a comparison show; kept, since maps never change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.errors import ThreeDISError
from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.progress import Progress, silent
from threedis_core.presence.measure import presence_scores
from threedis_core.values.depth import DepthMap

Presence = Mapping[str, Sequence[float | None]]
"""The presence score of each instance, by the key of the depth map."""
FILE = "presence.json"


def presence_of_depths(
    folder: CompareFolder, plan: ComparePlan, progress: Progress = silent
) -> Presence:
    """The presence scores of every depth map that is there.

    Scores of earlier calls are read from ``presence.json``; what is new goes there.
    """
    file = folder.path / FILE
    known = _read(file.read_bytes() if file.is_file() else b"{}")
    layouts = {one.id: one.layout for one in plan.layouts}
    missing = [one for one in plan.depths if one.key not in known]
    made: dict[str, Sequence[float | None]] = {}
    for done, depth in enumerate(missing, start=1):
        layout, path = layouts[depth.layout], folder.depth(depth.key)
        progress("depth maps", done, len(missing))
        if layout is None or not path.is_file():
            continue
        try:
            scores = presence_scores(layout, DepthMap.load(path))
        except ThreeDISError:
            continue  # a map that cannot be read has no say; its pictures failed
        made[depth.key] = [None if score is None else round(score, 4) for score in scores]
    if made:
        content = json.dumps({**known, **made}, sort_keys=True, separators=(",", ":"))
        write_atomically(file, content.encode())
    return {**known, **made}


def _read(content: bytes) -> dict[str, Sequence[float | None]]:
    try:
        found: Any = json.loads(content)
    except ValueError:
        return {}
    return cast("dict[str, Sequence[float | None]]", found) if isinstance(found, dict) else {}
