"""The benchmark's figures as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from threedis_pocket.bench.measure import GROUPS

_TITLES = {
    "colour": "colour",
    "colour_iou": "colour + IoU ≥ 0.5",
    "shape": "shape",
    "iou": "mean IoU",
    "image": "whole image",
}


def cell(figure: Mapping[str, float | int | None]) -> str:
    """A figure as text: value (95 % interval, n), or "-" where there is none."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    interval = "" if low is None or high is None else f"{low:.2f}-{high:.2f}, "
    return f"{value:.3f} ({interval}{figure['n']})"


def print_table(figures: Mapping[str, Any]) -> None:
    """Print value (95 % interval, number of instances or images) per preset, hook and group."""
    rows = [
        (name, switch, summary)
        for name, switches in figures["presets"].items()
        for switch, summary in switches.items()
    ]
    rows.append(("exact pictures", "-", figures["ceiling"]))
    table = Table("preset", "hook", "instances", *_TITLES.values())
    told = list[str]()
    for name, switch, summary in rows:
        for group in GROUPS:
            cells = [cell(summary[metric][group]) for metric in _TITLES]
            if group == "all" and "unsaid" in summary:
                told.append(f"{name}: missing, and no warning says so: {cell(summary['unsaid'])}")
            table.add_row(*((name, switch) if group == "all" else ("", "")), group, *cells)
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)
    for line in told:
        console.print(line)
    console.print("value (95 % interval, n)", style="dim")
