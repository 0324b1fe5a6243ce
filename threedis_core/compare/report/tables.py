"""The tables and charts of the page, ready for the templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from threedis_core.compare.report import charts, words
from threedis_core.compare.report.answer import headline
from threedis_core.compare.report.page import Cell, Figure, Report, System

Cells = Mapping[tuple[str, str], Cell]
"""By system and figure, or by system and part."""


@dataclass(frozen=True)
class Table:
    """Every system and every figure, over one choice of pictures."""

    id: str
    name: str
    caption: str
    cells: Cells
    primary: str = ""

    @property
    def extent(self) -> str:
        """Of how many layouts and instances the primary figure is; "" if systems differ in it."""
        mine = [cell for (_, figure), cell in self.cells.items() if figure == self.primary]
        found = {(cell.layouts, cell.instances) for cell in mine}
        if len(found) != 1:
            return ""
        layouts, instances = found.pop()
        return f"{words.counted(layouts, 'layout')}, {words.counted(instances, 'instance')}"

    def cell(self, system: str, figure: str) -> Cell | None:
        """The number at a system's row in a figure's column."""
        return self.cells.get((system, figure))


@dataclass(frozen=True)
class Card:
    """A chart, and the numbers that it draws."""

    name: str
    chart: Markup
    parts: Sequence[str] = ()
    cells: Cells | None = None

    def cell(self, system: str, part: str) -> Cell | None:
        """The number at a system's row in a part's column."""
        return (self.cells or {}).get((system, part))


@dataclass(frozen=True)
class Strata:
    """A figure in all parts of the data."""

    id: str
    figure: Figure
    cards: Sequence[Card]


@dataclass(frozen=True)
class Costs:
    """Time and memory."""

    stages: Sequence[str]
    charts: Sequence[Card]


@dataclass(frozen=True)
class Variant:
    """A system beside others of the same renderer: the options that differ among them."""

    name: str
    options: Sequence[tuple[str, Any]]
    cell: Cell | None

    @property
    def differs(self) -> str:
        """What differs, in one text to sort by."""
        return " ".join(f"{name}={value}" for name, value in self.options)


@dataclass(frozen=True)
class Ablation:
    """The variants of one renderer."""

    base: str
    variants: Sequence[Variant]
    chart: Markup

    @property
    def has_own_base(self) -> bool:
        """True if some were held against one of them that is not the baseline."""
        return any(one.cell is not None and one.cell.from_base is not None for one in self.variants)


def overall(report: Report) -> list[Table]:
    """The headline table and, where something failed, the one that counts failures as 0."""
    made = _table(report, True)
    counted = _table(report, False)
    found = [
        Table(
            "table-complete",
            "What every system completed",
            "Over the pictures that every system completed",
            made,
            report.primary,
        ),
        Table(
            "table-all",
            "Everything, failures as 0",
            "Over everything planned: a failed picture counts as 0",
            counted,
            report.primary,
        ),
    ]
    whole = all(system.done == system.planned for system in report.systems)
    return [table for table in (found[:1] if whole else found) if table.cells]


def strata(report: Report) -> Iterator[Strata]:
    """Every figure with a card for every way to part the data."""
    for number, figure in enumerate(report.figures):
        cells = [c for c in report.cells if c.figure == figure.key and c.stratum and c.complete]
        names = dict.fromkeys(cell.stratum[0] for cell in cells if cell.stratum)
        cards = [_card(name, cells, report.systems, figure) for name in names]
        if cards:
            yield Strata(f"strata-{number}", figure, cards)


def costs(report: Report) -> Costs | None:
    """Seconds and memory of the systems; None if nobody measured either."""
    longest = sorted(report.systems, key=lambda system: -len(system.seconds))
    stages = list(dict.fromkeys(stage for system in longest for stage in system.seconds))
    times = {s.name: s.seconds for s in report.systems if s.seconds}
    memory = {s.name: {"memory": s.memory / 2**30} for s in report.systems if s.memory is not None}
    cards: list[Card] = []
    if times:
        told = {name: f"{name}: {_spent(parts)}" for name, parts in times.items()}
        drawn = charts.bars(times, report.systems, "seconds a picture", told)
        cards.append(Card("Seconds a picture", Markup(drawn)))
    if memory:
        told = {s.name: f"{s.name}: {words.memory(s.memory)}" for s in report.systems}
        drawn = charts.bars(memory, report.systems, "GiB at most", told)
        cards.append(Card("Memory", Markup(drawn)))
    return Costs(stages, cards) if cards else None


def ablations(report: Report) -> Iterator[Ablation]:
    """The renderers that are there in several variants."""
    figure = next((f for f in report.figures if f.key == report.primary), None)
    cells = {cell.system: cell for cell in headline(report)}
    for base in dict.fromkeys(system.base for system in report.systems):
        members = [system for system in report.systems if system.base == base]
        if len(members) < 2 or figure is None:
            continue
        variants = [
            Variant(member.name, _differing(member, members), cells.get(member.name))
            for member in members
        ]
        shown = [cells[member.name] for member in members if member.name in cells]
        chart = charts.forest(shown, report.systems, figure) if shown else ""
        yield Ablation(base, variants, Markup(chart))


def _table(report: Report, complete: bool) -> Cells:
    return {
        (cell.system, cell.figure): cell
        for cell in report.cells
        if cell.stratum is None and cell.complete == complete
    }


def _card(name: str, cells: Sequence[Cell], systems: Sequence[System], figure: Figure) -> Card:
    mine = [cell for cell in cells if cell.stratum and cell.stratum[0] == name]
    parts = list(dict.fromkeys(cell.stratum[1] for cell in mine if cell.stratum))
    found = {(cell.system, cell.stratum[1]): cell for cell in mine if cell.stratum}
    return Card(name, Markup(charts.by_stratum(mine, systems, figure, parts)), parts, found)


def _differing(system: System, others: Sequence[System]) -> list[tuple[str, Any]]:
    names = dict.fromkeys(name for other in others for name in other.options)
    missing = object()
    return [
        (name, system.options[name])
        for name in names
        if name in system.options
        and any(other.options.get(name, missing) != system.options[name] for other in others)
    ]


def _spent(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {words.seconds(value)}" for stage, value in parts.items())
