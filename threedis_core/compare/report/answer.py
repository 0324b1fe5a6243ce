"""What came out, in a few plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from threedis_core.compare.report import words
from threedis_core.compare.report.page import Cell, Figure, Report

FEWEST = 6
"""Layouts with which a sign-flip test can reach 5 %."""
WORDS = ("better", "worse", "not distinguished")


def headline(report: Report, complete: bool = True) -> list[Cell]:
    """The primary figure of every system over all layouts, in the order of the systems."""
    found = {
        cell.system: cell
        for cell in report.cells
        if cell.figure == report.primary and cell.stratum is None and cell.complete == complete
    }
    return [found[system.name] for system in report.systems if system.name in found]


def answer(report: Report) -> list[str]:
    """Sentences for somebody who reads nothing else; none before anything is scored."""
    figure = next((f for f in report.figures if f.key == report.primary), None)
    cells = [cell for cell in headline(report) if cell.value is not None]
    if figure is None or not cells:
        return []
    return [_highest(cells, figure), *_against(cells, figure, report.baseline), *_too_few(cells)]


def _highest(cells: Sequence[Cell], figure: Figure) -> str:
    pick = max if figure.better == "higher" else min
    best = pick(cells, key=lambda cell: cell.value or 0.0)
    unit = f" {figure.unit}" if figure.unit else ""
    interval = words.span(best.low, best.high, figure)
    between = f" (95 % interval {interval})" if interval else ""
    end = "highest" if figure.better == "higher" else "lowest"
    what = f"{figure.title}" if len(cells) == 1 else f"the {end} {figure.title},"
    value = words.amount(best.value, figure)
    where = words.counted(best.layouts, "layout")
    return f"{best.system} has {what} {value}{unit}{between}, over {where}."


def _against(cells: Sequence[Cell], figure: Figure, baseline: str) -> Iterator[str]:
    told: dict[str, list[str]] = {word: [] for word in WORDS}
    for cell in cells:
        verdict = words.verdict(cell.difference, figure)
        if cell.system != baseline and verdict:
            told.setdefault(verdict, []).append(cell.system)
    parts = [
        f"{words.listed(names)} {'is' if len(names) == 1 else 'are'} {verdict}"
        for verdict, names in told.items()
        if names
    ]
    if parts:
        yield f"Against the baseline {baseline}: {'; '.join(parts)}."
    smallest = [
        abs(cell.difference.smallest)
        for cell in cells
        if cell.difference is not None
        and cell.difference.smallest is not None
        and words.verdict(cell.difference, figure) == "not distinguished"
    ]
    if smallest:
        least = f"{words.amount(max(smallest), figure)} {words.unit_of_difference(figure)}".strip()
        yield (
            "Not distinguished does not mean equal: with so many layouts a difference of less "
            f"than about {least} would not be seen."
        )


def _too_few(cells: Sequence[Cell]) -> Iterator[str]:
    """Of n layouts the smallest p-value of a sign-flip test is 2 / 2 ** n."""
    tested = [cell.layouts for cell in cells if cell.difference and cell.difference.p is not None]
    if tested and min(tested) < FEWEST:
        yield (
            f"{words.counted(min(tested), 'layout')} cannot show any difference: at 5 % it takes "
            f"at least {FEWEST}, and more for several systems."
        )
