"""The tables of a paper, as plain rows of text, made of ``summary.json`` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]
FigureEntry = Mapping[str, Any]
MARKS = {"wilson": "†", "percentile": "‡"}
"""How an interval that is no BCa one is marked."""
NOTHING = "–"


@dataclass(frozen=True)
class PaperTable:
    """A table: a caption, a row of heads, and rows of as many cells, the first a system's name.

    ``best`` has the places (row, column) of the best values of their columns.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()


def paper_tables(summary: Summary) -> Iterator[PaperTable]:
    """The tables: what was measured, what differs, levels and other strata, failures, time."""
    for metric in summary["metrics"]:
        yield _headline(summary, metric, complete=True)
    if any(one["difference"] and not one["exploratory"] for one in summary["figures"]):
        yield _differences(summary)
    for metric in summary["metrics"]:
        if any(_is_variant(one, metric) for one in summary["figures"]):
            yield _from_base(summary, metric)
    for metric in summary["metrics"]:
        for stratum in _strata(summary, metric["name"]):
            yield _by_stratum(summary, metric, stratum)
    if any(one["failed"] for one in summary["figures"]):
        for metric in summary["metrics"]:
            yield _headline(summary, metric, complete=False)
    yield _times(summary)


def notes(summary: Summary) -> Iterator[str]:
    """What a reader of the tables must know, a sentence or two each."""
    yield (
        "Brackets: 95 % intervals, BCa bootstrap over layouts, resampled jointly for all systems "
        "(9,999 resamples; 999 for average precision)."
    )
    kinds = {one["interval"] for one in summary["figures"]}
    if "wilson" in kinds:
        yield "† All layouts give 0 or all give 1: Wilson's interval on the number of layouts."
    if "percentile" in kinds:
        yield "‡ BCa is not defined here: plain percentiles of the resamples."
    yield "Values are of the cells (layout and seeds) that all systems completed."
    if summary["primary"] is not None:
        yield (
            f"Tested: {summary['primary']} against {summary['baseline']}, chosen before the run; "
            "sign-flip permutation over layouts, Holm over systems, 5 %. Everything else is "
            'exploratory. "Not distinguished" does not mean equal: see the smallest detectable '
            "difference (80 % power)."
        )
    for metric in summary["metrics"]:
        if metric["note"]:
            yield f"{metric['name']}: {metric['note']}"
        if metric["detector"]:
            yield f"{metric['name']} reads the detector {metric['detector']}."
    for source in summary["sources"]:
        yield f"{source['layouts']} layouts of {source['source']}, SHA-256 {source['sha256']}."


def told(value: float | None, unit: str, sign: bool = False) -> str:
    """A value as a table has it: a share in per cent with one decimal, else with two."""
    if value is None:
        return NOTHING
    number = f"{100 * value:+.1f}" if unit == "%" else f"{value:+.2f}"
    return number if sign else number.removeprefix("+")


def with_interval(entry: Mapping[str, Any], unit: str, sign: bool = False) -> str:
    """A value with its interval in brackets."""
    value = told(entry["value"], unit, sign)
    if entry["low"] is None:
        return value
    low, high = told(entry["low"], unit, sign), told(entry["high"], unit, sign)
    return f"{value} [{low}, {high}]{MARKS.get(entry['interval'], '')}"


def _headline(summary: Summary, metric: Mapping[str, Any], complete: bool) -> PaperTable:
    figures = metric["figures"]
    entries = [
        [_entry(summary, metric, one, system, complete, None) for one in figures]
        for system in summary["systems"]
    ]
    rows = tuple(
        (
            system["name"],
            *(
                NOTHING if e is None else with_interval(e, f["unit"])
                for e, f in zip(own, figures, strict=True)
            ),
            _counts(own),
            *_sizes(own),
        )
        for system, own in zip(summary["systems"], entries, strict=True)
    )
    what = "cells that all systems completed" if complete else "failures count as 0"
    return PaperTable(
        f"{metric['name']}: {what}",
        (
            "system",
            *(_titled(one) for one in figures),
            "planned/done/failed",
            "layouts",
            "instances",
        ),
        rows,
        _best(entries, figures),
    )


def _differences(summary: Summary) -> PaperTable:
    metric_name, _, name = str(summary["primary"]).partition(".")
    figure = _figure(summary, metric_name, name)
    tested = [one for one in summary["figures"] if one["difference"] and not one["exploratory"]]
    rows = tuple(
        (
            one["system"],
            with_interval(one["difference"], figure["unit"], sign=True),
            _p_value(one["difference"]["p_adjusted"]),
            told(one["difference"]["smallest_detectable"], figure["unit"]),
            str(one["layouts"]),
            str(one["instances"]),
            one["difference"]["verdict"],
        )
        for one in tested
    )
    return PaperTable(
        f"{summary['primary']}: difference from {summary['baseline']}",
        (
            "system",
            f"difference ({_titled(figure)})",
            "adjusted p",
            "smallest detectable",
            "layouts",
            "instances",
            "verdict",
        ),
        rows,
    )


def _is_variant(entry: FigureEntry, metric: Mapping[str, Any]) -> bool:
    whole = entry["complete"] and entry["stratum"] is None
    return whole and entry["metric"] == metric["name"] and bool(entry.get("from_base"))


def _from_base(summary: Summary, metric: Mapping[str, Any]) -> PaperTable:
    found: dict[tuple[str, str], dict[str, str]] = {}
    units = {figure["name"]: figure["unit"] for figure in metric["figures"]}
    for one in summary["figures"]:
        if _is_variant(one, metric):
            own = found.setdefault((one["system"], one["from_base"]["base"]), {})
            told = with_interval(one["from_base"], units[one["figure"]], sign=True)
            own[one["figure"]] = told
    return PaperTable(
        f"{metric['name']}: variants, difference from their own renderer (exploratory)",
        ("variant", "of", *(_titled(figure) for figure in metric["figures"])),
        tuple(
            (*names, *(own.get(unit, NOTHING) for unit in units)) for names, own in found.items()
        ),
    )


def _by_stratum(summary: Summary, metric: Mapping[str, Any], stratum: str) -> PaperTable:
    chosen = [
        (figure, label)
        for figure in metric["figures"]
        for label in _labels(summary, metric["name"], figure["name"], stratum)
    ]
    rows = tuple(
        (
            system["name"],
            *(_cell(summary, metric, figure, system, (stratum, label)) for figure, label in chosen),
        )
        for system in summary["systems"]
    )
    head = tuple(f"{figure['title']} {label}" for figure, label in chosen)
    return PaperTable(f"{metric['name']} by {stratum} (exploratory)", ("system", *head), rows)


def _cell(
    summary: Summary,
    metric: Mapping[str, Any],
    figure: Mapping[str, Any],
    system: Mapping[str, Any],
    stratum: tuple[str, str],
) -> str:
    entry = _entry(summary, metric, figure, system, True, stratum)
    return NOTHING if entry is None else with_interval(entry, figure["unit"])


def _times(summary: Summary) -> PaperTable:
    rows = tuple(
        (
            one["name"],
            NOTHING if one["seconds_per_picture"] is None else f"{one['seconds_per_picture']:.2f}",
            ", ".join(f"{part} {spent:.2f}" for part, spent in one["stage_seconds"].items())
            or NOTHING,
            NOTHING if one["peak_memory"] is None else f"{one['peak_memory'] / 2**30:.2f}",
        )
        for one in summary["systems"]
    )
    head = ("system", "s per picture", "s per picture by stage; loading once", "peak memory (GiB)")
    return PaperTable("Time and memory", head, rows)


def _entry(
    summary: Summary,
    metric: Mapping[str, Any],
    figure: Mapping[str, Any],
    system: Mapping[str, Any],
    complete: bool,
    stratum: tuple[str, str] | None,
) -> FigureEntry | None:
    part = None if stratum is None else {"name": stratum[0], "value": stratum[1]}
    wanted = (metric["name"], figure["name"], system["name"], complete, part)
    for one in summary["figures"]:
        found = (one["metric"], one["figure"], one["system"], one["complete"], one["stratum"])
        if found == wanted:
            return one
    return None


def _figure(summary: Summary, metric: str, name: str) -> Mapping[str, Any]:
    return next(
        figure
        for one in summary["metrics"]
        if one["name"] == metric
        for figure in one["figures"]
        if figure["name"] == name
    )


def _strata(summary: Summary, metric: str) -> list[str]:
    names = (one["stratum"]["name"] for one in summary["figures"] if _is_of(one, metric))
    return list(dict.fromkeys(names))


def _labels(summary: Summary, metric: str, figure: str, stratum: str) -> list[str]:
    return list(
        dict.fromkeys(
            one["stratum"]["value"]
            for one in summary["figures"]
            if _is_of(one, metric) and one["figure"] == figure and one["stratum"]["name"] == stratum
        )
    )


def _is_of(entry: FigureEntry, metric: str) -> bool:
    return entry["metric"] == metric and entry["complete"] and entry["stratum"] is not None


def _titled(figure: Mapping[str, Any]) -> str:
    return f"{figure['title']} (%)" if figure["unit"] == "%" else figure["title"]


def _counts(entries: Sequence[FigureEntry | None]) -> str:
    one = next((entry for entry in entries if entry is not None), None)
    return NOTHING if one is None else f"{one['planned']}/{one['done']}/{one['failed']}"


def _sizes(entries: Sequence[FigureEntry | None]) -> tuple[str, str]:
    one = next((entry for entry in entries if entry is not None), None)
    return (NOTHING, NOTHING) if one is None else (str(one["layouts"]), str(one["instances"]))


def _best(
    entries: Sequence[Sequence[FigureEntry | None]], figures: Sequence[Mapping[str, Any]]
) -> frozenset[tuple[int, int]]:
    places: set[tuple[int, int]] = set()
    for column, figure in enumerate(figures):
        values: dict[int, float] = {}
        for row, own in enumerate(entries):
            entry = own[column]
            if entry is not None and entry["value"] is not None:
                values[row] = entry["value"]
        if len(values) > 1:
            top = (max if figure["better"] == "higher" else min)(values.values())
            places |= {(row, column + 1) for row, value in values.items() if value == top}
    return frozenset(places)


def _p_value(p: float | None) -> str:
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
