"""What ``summary.json`` says, as the page shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from threedis_core.compare.report.page import Cell, Difference, Figure

Data = Mapping[str, Any]
EMPTY: Data = {}
STAGES = ("depth", "render", "detect", "score")
LOADING = "loading"
"""Among the seconds by stage: of all pictures together, since a model is loaded once."""


def read_data(file: Path) -> Data:
    """A JSON document that is a mapping; an empty one if there is none that can be read."""
    try:
        data: object = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return EMPTY
    return cast("Data", data) if isinstance(data, dict) else EMPTY


def figures(summary: Data) -> list[Figure]:
    """The columns of the tables, in the order of the metrics."""
    return [
        Figure(
            key=f"{metric['name']}.{figure['name']}",
            title=figure.get("title") or figure["name"],
            unit=figure.get("unit", ""),
            better="lower" if figure.get("better") == "lower" else "higher",
            meaning=figure.get("meaning", ""),
            judge=metric.get("detector") or "",
        )
        for metric in summary.get("metrics", [])
        for figure in metric.get("figures", [])
    ]


def notes(summary: Data) -> list[str]:
    """What a reader of the figures must know, metric by metric."""
    told = (metric.get("note") for metric in summary.get("metrics", []))
    return [note for note in told if note]


def cells(summary: Data) -> list[Cell]:
    """Every number of the tables."""
    return [_cell(found) for found in summary.get("figures", [])]


def costs(summary: Data, system: str) -> tuple[dict[str, float], float | None, float | None]:
    """Seconds of one picture by stage, seconds that loading took in all, and the most bytes."""
    found = next((s for s in summary.get("systems", []) if s.get("name") == system), EMPTY)
    stages: Data = found.get("stage_seconds") or EMPTY
    seconds = {stage: float(value) for stage, value in stages.items() if value is not None}
    loading = seconds.pop(LOADING, None)
    in_order = sorted(seconds, key=lambda stage: (_rank(stage), stage))
    told = {stage.replace("-", " ", 1): seconds[stage] for stage in in_order}
    return told, loading, found.get("peak_memory")


def _rank(stage: str) -> int:
    """Stages come in the order in which they are done."""
    return next((n for n, kind in enumerate(STAGES) if stage.startswith(kind)), len(STAGES))


def _cell(found: Data) -> Cell:
    stratum = found.get("stratum")
    return Cell(
        figure=f"{found['metric']}.{found['figure']}",
        system=found["system"],
        value=found.get("value"),
        stratum=None if stratum is None else (str(stratum["name"]), str(stratum["value"])),
        low=found.get("low"),
        high=found.get("high"),
        interval=found.get("interval") or "bca",
        layouts=found.get("layouts") or 0,
        instances=found.get("instances") or 0,
        complete=found.get("complete", True),
        exploratory=found.get("exploratory", False),
        difference=_difference(found.get("difference")),
        from_base=_difference(found.get("from_base")),
    )


def _difference(found: Data | None) -> Difference | None:
    if not found or found.get("value") is None:
        return None
    return Difference(
        value=found["value"],
        low=found.get("low"),
        high=found.get("high"),
        p=found.get("p"),
        p_adjusted=found.get("p_adjusted"),
        smallest=found.get("smallest_detectable"),
        verdict=found.get("verdict") or "",
    )
