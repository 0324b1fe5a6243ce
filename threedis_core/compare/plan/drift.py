"""Whether what is asked now is the plan that a folder was begun with, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan, PlannedLayout
from threedis_core.compare.plan.sources import layout_sha256
from threedis_core.errors import OptionError
from threedis_core.files.printable import printable
from threedis_core.run.record.differences import differences, first_told

RESOLVED = ("renderers", "depth_models", "metrics", "detectors", "primary", "baseline")
"""Settings that are compared as they were resolved."""
HINT = "choose another folder with --out, or ask for the same to go on"


def drift(frozen: ComparePlan, now: ComparePlan) -> list[str]:
    """What is now otherwise than it was, in a few words each.

    Metrics and detectors may be others: they are judged again, and no picture depends on them.
    """
    found = [
        one
        for name, before in _facts(frozen).items()
        for one in differences(name, before, _facts(now)[name])
    ]
    for name in ("primary", "baseline"):  # asked for; by default they stay
        if name in now.config:
            found += differences(name, getattr(frozen, name), getattr(now, name))
    if not found and [job.key for job in frozen.jobs] != [job.key for job in now.jobs]:
        found.append("the jobs are others")
    return found


def refuse_drift(folder: CompareFolder, frozen: ComparePlan, now: ComparePlan) -> None:
    """Refuse to go on with another plan.

    Raises:
        OptionError: It is another one; it names what changed.
    """
    if found := drift(frozen, now):
        raise OptionError(
            f"{printable(folder.path)} holds another comparison: {first_told(found)}. "
            f"{HINT[0].upper()}{HINT[1:]}",
            code="folder-taken",
            file=folder.path,
            path="out",
            hint=HINT,
        )


def with_metrics_of(frozen: ComparePlan, now: ComparePlan) -> ComparePlan:
    """The frozen plan with the metrics and detectors that are asked for now.

    Raises:
        OptionError: The metric of the primary figure, chosen before the first picture, is gone.
    """
    primary = frozen.primary
    if primary is not None and primary.partition(".")[0] not in now.metrics:
        raise OptionError(
            f"the comparison was begun with '{primary}' as its primary figure; keep its metric "
            "among the metrics, or choose another folder with --out",
            path="metrics",
        )
    return frozen.model_copy(update={"metrics": now.metrics, "detectors": now.detectors})


def _facts(plan: ComparePlan) -> dict[str, Any]:
    return {
        "versions": plan.versions,
        "config": {name: value for name, value in plan.config.items() if name not in RESOLVED},
        "layouts": {one.id: _layout_facts(one) for one in plan.layouts},
        "depth_models": {one.name: one.model_dump(mode="json") for one in plan.depth_models},
        "systems": {one.name: one.model_dump(mode="json") for one in plan.systems},
    }


def _layout_facts(one: PlannedLayout) -> dict[str, Any]:
    content = layout_sha256(one.layout) if one.layout is not None else one.error
    return {"source": one.source, "sha256": one.sha256, "content": content, "level": one.level}


def is_comparison(path: Path) -> bool:
    """Whether a folder holds a comparison."""
    return CompareFolder(path).plan.is_file()
