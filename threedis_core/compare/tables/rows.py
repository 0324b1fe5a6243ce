"""``results.csv``: a line for every instance of every picture, and one for the picture itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from threedis_core.compare.plan.models import ComparePlan, PlannedJob
from threedis_core.compare.scoring.presence import Presence
from threedis_core.compare.scoring.results import Results, State
from threedis_core.compare.scoring.strata import (
    LEVEL,
    OVERLAP,
    SAME_NOUN,
    SIZE,
    largest_overlap,
    strata_of,
)
from threedis_core.plugin.judging.interfaces import PictureScore, Value

Cells = dict[str, str | int | float | bool | None]
FIXED = (
    *("system", "layout", "source", "level", "seed", "depth_seed", "job", "picture"),
    *("instance", "prompt", "noun", "box_area", "size", "same_noun"),
    *("overlap", "largest_overlap", "presence"),
)


def result_rows(
    plan: ComparePlan,
    results: Mapping[str, Results],
    states: Mapping[str, State],
    presence: Presence,
) -> tuple[list[str], list[Cells]]:
    """The table's columns and its rows, in the plan's order.

    Args:
        plan: The comparison.
        results: The results of each metric, by its name.
        states: What became of each job's picture.
        presence: How much of each instance each depth map shows.
    Returns:
        Names of columns, those of metrics as "METRIC.VALUE"; and rows, of which ``instance`` is
        empty for what is of the whole picture.
    """
    rows: list[Cells] = []
    for job in plan.jobs:
        scores = {name: found.scores.get(job.key) for name, found in results.items()}
        rows += _rows_of(plan, job, states[job.key], scores, presence)
    columns = dict.fromkeys(name for row in rows for name in row)
    return [*FIXED, *sorted(set(columns) - set(FIXED))], rows


def _rows_of(
    plan: ComparePlan,
    job: PlannedJob,
    state: State,
    scores: Mapping[str, PictureScore | None],
    presence: Presence,
) -> Iterator[Cells]:
    planned = plan.layouts_by_id[job.layout]
    head: Cells = {
        "system": job.system,
        "layout": job.layout,
        "source": planned.source,
        "level": planned.level,
        "seed": job.seed,
        "depth_seed": None if job.depth is None else plan.depths_by_key[job.depth].seed,
        "job": job.key,
        "picture": state.name.lower(),
    }
    whole = {name: score.picture for name, score in scores.items() if score is not None}
    yield {**head, **_named(whole)}
    if planned.layout is None:
        return
    strata, shown = strata_of(planned), presence.get(job.depth or "")
    overlap = round(largest_overlap(planned.layout), 6)
    for number, instance in enumerate(planned.layout.instances):
        own = {name: one.instances[number] for name, one in scores.items() if one is not None}
        yield {
            **head,
            "instance": number,
            "prompt": instance.prompt,
            "noun": instance.noun,
            "box_area": round(instance.box.area, 6),
            "size": strata[SIZE][number],
            "same_noun": strata[SAME_NOUN][number],
            "overlap": strata[OVERLAP][number],
            "largest_overlap": overlap,
            "presence": None if shown is None else shown[number],
            LEVEL: planned.level,
            **_named(own),
        }


def _named(values: Mapping[str, Mapping[str, Value]]) -> Cells:
    return {f"{name}.{key}": value for name, some in values.items() for key, value in some.items()}


def csv_bytes(columns: list[str], rows: list[Cells]) -> bytes:
    """The table as CSV: UTF-8, a header, empty where there is nothing, true and false in words."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_told(row.get(name)) for name in columns] for row in rows)
    return text.getvalue().encode()


def parquet_bytes(columns: list[str], rows: list[Cells]) -> bytes | None:
    """The table as Parquet; None without the extra ``parquet``."""
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        return None
    table = arrow.table({name: _column([row.get(name) for row in rows]) for name in columns})
    target = io.BytesIO()
    parquet.write_table(table, target)
    return target.getvalue()


def _column(values: list[Any]) -> list[Any]:
    """Values of one type: where some are true or false and some are numbers, numbers."""
    kinds: set[type] = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and kinds <= {bool, int, float}:
        return [None if value is None else float(value) for value in values]
    return values


def _told(value: Value | str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # A spreadsheet would run a text that begins like a formula.
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and text else text
