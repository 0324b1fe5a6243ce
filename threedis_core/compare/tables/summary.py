"""``summary.json``: every figure of a comparison, for the report and for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.columns import EVERYTHING
from threedis_core.compare.scoring.results import Results, State
from threedis_core.compare.tables.figures import Difference, FigureRow
from threedis_core.compare.tables.times import Times
from threedis_core.plugin.judging.interfaces import Metric

FORMAT = 1
DIGITS = 6


def summary_document(
    plan: ComparePlan,
    metrics: Mapping[str, tuple[Metric, Results]],
    states: Mapping[str, State],
    times: Mapping[str, Times],
    rows: Sequence[FigureRow],
) -> dict[str, Any]:
    """All of ``summary.json``, JSON-ready; keys are as docs/compare.md lists them."""
    return {
        "format": FORMAT,
        "primary": plan.primary,
        "baseline": plan.baseline,
        "layouts": len(plan.layouts),
        "sources": _sources(plan),
        "versions": plan.versions,
        "metrics": [_metric(name, metric) for name, (metric, _) in metrics.items()],
        "systems": [
            _system(plan, place, states, times[one.name]) for place, one in enumerate(plan.systems)
        ],
        "figures": [_figure(plan, metrics, row) for row in rows],
    }


def summary_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as a file."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _sources(plan: ComparePlan) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for layout in plan.layouts:
        one = found.setdefault(
            layout.source, {"source": layout.source, "sha256": layout.sha256, "layouts": 0}
        )
        one["layouts"] += 1
    return list(found.values())


def _metric(name: str, metric: Metric) -> dict[str, Any]:
    return {
        "name": name,
        "detector": metric.detector,
        "note": metric.note,
        "options": metric.options.model_dump(mode="json"),
        "figures": [
            {
                "name": figure.name,
                "title": figure.title,
                "key": figure.value_key,
                "per": figure.per,
                "unit": "%" if figure.share else "",
                "better": figure.better,
                "meaning": figure.meaning,
            }
            for figure in metric.figures
        ],
    }


def _system(
    plan: ComparePlan, place: int, states: Mapping[str, State], times: Times
) -> dict[str, Any]:
    system = plan.systems[place]
    own = [states[job.key] for job in plan.jobs if job.system == system.name]
    return {
        "name": system.name,
        "renderer": system.renderer,
        "depth_model": system.depth_model,
        "options": plan.options_of(system),
        "control": system.control,
        "region_refiner": system.region_refiner,
        "planned": len(own),
        "done": own.count(State.DONE),
        "failed": own.count(State.FAILED),
        "seconds_per_picture": _rounded(times.seconds_per_picture),
        "stage_seconds": {part: _rounded(spent) for part, spent in times.per_picture.items()},
        "peak_memory": times.memory,
    }


def _figure(
    plan: ComparePlan, metrics: Mapping[str, tuple[Metric, Results]], row: FigureRow
) -> dict[str, Any]:
    states = [State(one) for one in metrics[row.metric][1].states[:, row.system]]
    estimate = row.estimate
    return {
        "metric": row.metric,
        "figure": row.figure.name,
        "stratum": _stratum(row),
        "system": plan.systems[row.system].name,
        "value": _rounded(estimate.value),
        "low": _rounded(estimate.interval.low),
        "high": _rounded(estimate.interval.high),
        "interval": estimate.interval.kind,
        "resamples": row.resamples,
        "layouts": row.layouts,
        "pictures": row.pictures,
        "instances": row.instances,
        "planned": sum(job.system == plan.systems[row.system].name for job in plan.jobs),
        "done": states.count(State.DONE),
        "failed": states.count(State.FAILED),
        "complete": row.complete,
        "exploratory": row.exploratory,
        "difference": None if row.difference is None else _difference(row.difference, row.layouts),
        "from_base": _from_base(plan, row),
    }


def _stratum(row: FigureRow) -> dict[str, str] | None:
    if row.stratum == EVERYTHING:
        return None
    name, value = row.stratum
    return {"name": name, "value": value}


def _from_base(plan: ComparePlan, row: FigureRow) -> dict[str, Any] | None:
    if row.base is None or row.from_base is None:
        return None
    return {"base": plan.systems[row.base].name, **_difference(row.from_base, row.layouts)}


def _difference(difference: Difference, layouts: int) -> dict[str, Any]:
    estimate = difference.estimate
    # Swapping signs has 2 ** layouts ways: with too few of them nothing at all is detected at 5 %.
    testable = 2.0 ** (1 - layouts) < 0.05
    return {
        "value": _rounded(estimate.value),
        "low": _rounded(estimate.interval.low),
        "high": _rounded(estimate.interval.high),
        "interval": estimate.interval.kind,
        "p": difference.p,
        "p_adjusted": difference.p_adjusted,
        "smallest_detectable": _rounded(estimate.smallest_detectable) if testable else None,
        "verdict": difference.verdict,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DIGITS)
