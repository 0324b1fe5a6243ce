"""Charts as SVG: Vega-Lite drawn by vl-convert, in the colours of the page that they stand in.

A colour is the name of one of the page's own variables, so that a chart is light or dark with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from threedis_core.compare.report import words
from threedis_core.compare.report.page import Cell, Figure, System

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
WIDTH = 330
MARK, GAP = 11, 8
"""Pixels that one system takes in a group, and between two groups."""
CONFIG: Spec = {
    "background": None,
    "padding": 2,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": "var(--quiet)", "titleColor": "var(--quiet)", "labelFontSize": 11},
        **{"gridColor": "var(--line)", "domain": False, "ticks": False, "titleFontWeight": 400},
        **{"labelPadding": 6, "titleFontSize": 11, "labelLimit": 150},
    },
}


def by_stratum(
    cells: Sequence[Cell], systems: Sequence[System], figure: Figure, parts: Sequence[str]
) -> str:
    """A figure of every system in every part of the data: points with their intervals.

    Args:
        cells: Of this figure and of one stratum.
        systems: In the order of their colours.
        parts: The stratum's values in their order.
    Returns:
        An SVG element.
    """
    rows = [
        _interval(cell, figure) | {"part": words.legible(cell.stratum[1], 40)}
        for cell in cells
        if cell.stratum is not None and cell.value is not None
    ]
    height = max(len(systems) * MARK + GAP, 26)
    names = [words.legible(part, 40) for part in parts]
    y = {"field": "part", "type": "nominal", "sort": names, "title": None}
    offset = {"field": "system", "sort": [system.name for system in systems]}
    padding = {"scale": {"paddingInner": 0.12, "paddingOuter": 0.06}}
    spec = _points(rows, systems, figure, {"y": y | padding, "yOffset": offset})
    return svg(spec | {"height": {"step": height, "for": "position"}})


def forest(cells: Sequence[Cell], systems: Sequence[System], figure: Figure) -> str:
    """A figure of some systems, one below the other, each with its name: an SVG element."""
    shown = [system for system in systems if any(cell.system == system.name for cell in cells)]
    rows = [_interval(cell, figure) for cell in cells if cell.value is not None]
    spec = _points(rows, systems, figure, {"y": _by_name(shown)})
    return svg(spec | {"height": {"step": 22}})


def bars(
    values: Mapping[str, Mapping[str, float]],
    systems: Sequence[System],
    title: str,
    told: Mapping[str, str],
) -> str:
    """One bar for every system, in parts.

    Args:
        values: System to part to length: {"sd15": {"render": 1.2, "detect": 0.3}}.
        systems: In the order of their bars.
        title: Of the axis.
        told: What to say of a system's bar.
    Returns:
        An SVG element.
    """
    rows = [
        {"system": name, "part": words.legible(part), "value": value}
        | {"told": words.legible(told[name]), "place": place}
        for name, parts in values.items()
        for place, (part, value) in enumerate(parts.items())
    ]
    parts = list(dict.fromkeys(str(row["part"]) for row in rows))
    shades = [f"var(--part{index % 4})" for index in range(len(parts))]
    color = {"field": "part", "type": "nominal", "sort": parts, "scale": {"range": shades}}
    legend = {"orient": "top", "title": None, "labelColor": "var(--quiet)", "symbolType": "square"}
    legend |= {"columns": 2, "labelLimit": 130}
    spec = {
        **{"$schema": SCHEMA, "config": CONFIG, "width": WIDTH, "autosize": _AUTOSIZE},
        **{"data": {"values": rows}, "height": {"step": 22}},
        "mark": {"type": "bar", "height": 10},
        "encoding": {
            "y": _by_name([system for system in systems if system.name in values]),
            "x": {"field": "value", "type": "quantitative", "title": title},
            "color": color | {"legend": legend if len(parts) > 1 else None},
            "order": {"field": "place"},
            "description": {"field": "told"},
        },
    }
    return svg(spec)


def svg(spec: Spec) -> str:
    """Draw a Vega-Lite specification: an SVG element that takes the width it is given."""
    import vl_convert  # 80 MB of renderer: for those who draw

    # Nothing in it may need an id: Vega counts them up from chart to chart.
    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])


_AUTOSIZE = {"type": "fit-x", "contains": "padding"}


def _points(rows: Sequence[Spec], systems: Sequence[System], figure: Figure, places: Spec) -> Spec:
    """Points with rules through them; ``places`` says how they stand one below the other."""
    x = {"type": "quantitative", "title": words.legible(figure.title, 60)}
    axis = {"format": ".0%"} if figure.unit == "%" else {}
    scale = {"domain": [0, 1]} if figure.unit == "%" else {"zero": False}
    colors = {
        "domain": [system.name for system in systems],
        "range": [f"var(--s{index})" for index in range(len(systems))],
    }
    rule = {"type": "rule", "strokeWidth": 2, "strokeCap": "round", "opacity": 0.55}
    return {
        **{"$schema": SCHEMA, "config": CONFIG, "width": WIDTH, "autosize": _AUTOSIZE},
        "data": {"values": list(rows)},
        "encoding": {
            **places,
            "color": {"field": "system", "type": "nominal", "scale": colors, "legend": None},
            "description": {"field": "told"},
        },
        "layer": [
            {
                "mark": rule,
                "encoding": {
                    "x": x | {"field": "low", "axis": axis, "scale": scale},
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 42, "opacity": 1},
                "encoding": {"x": x | {"field": "value"}},
            },
        ],
    }


def _by_name(systems: Sequence[System]) -> Spec:
    names = [system.name for system in systems]
    return {"field": "system", "type": "nominal", "sort": names, "title": None}


def _interval(cell: Cell, figure: Figure) -> Spec:
    told = f"{cell.system}: {words.amount(cell.value, figure)}{figure.unit and ' ' + figure.unit}"
    between = words.span(cell.low, cell.high, figure)
    where = f"{cell.stratum[1]}, " if cell.stratum else ""
    return {
        "system": cell.system,
        "value": cell.value,
        "low": cell.value if cell.low is None else cell.low,
        "high": cell.value if cell.high is None else cell.high,
        "told": words.legible(f"{where}{told}" + (f" ({between})" if between else "")),
    }
