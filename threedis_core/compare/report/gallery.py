"""The rows of the gallery, ready for the template: one layout and all its pictures each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from threedis_core.compare.report import words
from threedis_core.compare.report.page import Instance, Line, Picture, Report, Row, Value, Verdict
from threedis_core.values.palette import instance_color

MARKS = {"right": "✓", "wrong": "✗", "missing": "✗", "unjudged": ""}
Address = Callable[[Path | None], str]
"""Where the page finds a picture; "" if it cannot be shown."""


@dataclass(frozen=True)
class DrawnBox:
    """A box of a layout as the page places it."""

    place: str
    corner: str
    color: str
    prompt: str


@dataclass(frozen=True)
class DepthView:
    label: str
    thumbnail: str
    full: str


@dataclass(frozen=True)
class PictureView:
    """A picture's cell; what JavaScript draws upon it is JSON."""

    index: int
    system: str
    state: str
    told: str
    count: str
    thumbnail: str
    full: str
    note: str
    verdicts: str
    values: str


@dataclass(frozen=True)
class LineView:
    label: str
    depths: Sequence[DepthView]
    pictures: Sequence[PictureView]


@dataclass(frozen=True)
class RowView:
    """A layout's row; what it is sorted and filtered by is text, JSON where it is more than one."""

    number: int
    name: str
    prompt: str
    ratio: str
    tags: Sequence[str]
    drawn: Sequence[DrawnBox]
    lines: Sequence[LineView]
    score: str
    score_text: str
    scores: str
    spread: str
    wrong: int
    failed: int
    strata: str
    boxes: str


def files(report: Report) -> Iterator[Path | None]:
    """The pictures that rows need, in the order in which ``views`` asks for their thumbnails."""
    for row in report.rows:
        for line in row.lines:
            yield from (depth.file for depth in line.depths)
            yield from (picture.file for picture in line.pictures)


def views(report: Report, thumbnail: Address, full: Address) -> Iterator[RowView]:
    """The rows one after another; each asks for its thumbnails only when it is wanted."""
    maker = _Maker(report, thumbnail, full)
    return (maker.row(number, row) for number, row in enumerate(report.rows))


def strata_of(report: Report) -> list[tuple[str, list[str]]]:
    """The ways to part the layouts that have several parts, each with its values in order."""
    names = dict.fromkeys(name for row in report.rows for name in row.strata)
    values = {n: sorted({r.strata[n] for r in report.rows if n in r.strata}) for n in names}
    return [(name, found) for name, found in values.items() if len(found) > 1]


class _Maker:
    """Makes the views of a report's rows."""

    def __init__(self, report: Report, thumbnail: Address, full: Address) -> None:
        self._index_of = {system.name: index for index, system in enumerate(report.systems)}
        self._filters = [name for name, _ in strata_of(report)]
        self._thumbnail, self._full = thumbnail, full

    def row(self, number: int, row: Row) -> RowView:
        """A layout's row."""
        lines = [self._line(line, row) for line in row.lines]
        scores = _scores(row, self._index_of)
        known = [score for score in scores if score is not None]
        pictures = list(_pictures(row))
        states = [verdict.state for picture in pictures for verdict in picture.verdicts]
        return RowView(
            number=number,
            name=row.name,
            prompt=row.prompt,
            ratio=f"{row.size[0]} / {row.size[1]}",
            tags=list(row.strata.values()),
            drawn=[_drawn(index, instance) for index, instance in enumerate(row.instances)],
            lines=lines,
            score=f"{fmean(known):.4f}" if known else "",
            score_text=f"{fmean(known):.2f}" if known else "",
            scores=_json([None if score is None else round(score, 4) for score in scores]),
            spread=f"{max(known) - min(known):.4f}" if known else "",
            wrong=states.count("wrong") + states.count("missing"),
            failed=sum(picture.state != "done" for picture in pictures),
            strata=_json([words.legible(row.strata.get(name, "")) for name in self._filters]),
            boxes=_json([[_rounded(i.box), words.legible(i.prompt)] for i in row.instances]),
        )

    def _line(self, line: Line, row: Row) -> LineView:
        depths = [
            DepthView(depth.label, self._thumbnail(depth.file), self._full(depth.file))
            for depth in line.depths
        ]
        pictures = [self._picture(picture, row) for picture in line.pictures]
        return LineView(line.seed if len(row.lines) > 1 else "", depths, pictures)

    def _picture(self, picture: Picture, row: Row) -> PictureView:
        shown = self._thumbnail(picture.file)
        right = sum(verdict.state == "right" for verdict in picture.verdicts)
        judged = sum(verdict.state != "unjudged" for verdict in picture.verdicts)
        state = picture.state if picture.state != "done" or shown else "cannot be read"
        count = f"{right} of {judged}" if judged else ""
        outcome = f"{count} right" if count else state
        return PictureView(
            index=self._index_of[picture.system],
            system=picture.system,
            state=state,
            told=f"Picture of {row.name} by {picture.system}, {outcome}",
            count=count,
            thumbnail=shown,
            full=self._full(picture.file),
            note=picture.note,
            verdicts=_json([_verdict(verdict) for verdict in picture.verdicts]),
            values=_json(_values(picture.values)) if picture.values else "",
        )


def _verdict(verdict: Verdict) -> list[Any]:
    """State, short mark, what to say of it, and where it was found."""
    iou = verdict.values.get("iou")
    overlap = f"{iou:.2f}".removeprefix("0") if isinstance(iou, float) else ""
    mark = f"{MARKS[verdict.state]} {overlap}".strip()
    found = [] if verdict.found is None else _rounded(verdict.found)
    return [verdict.state, mark, _values(verdict.values), found]


def _values(values: Mapping[str, Value]) -> list[list[str]]:
    return [[words.legible(name), words.plain(value)] for name, value in values.items()]


def _scores(row: Row, index_of: dict[str, int]) -> list[float | None]:
    """The mean score of every system in a row."""
    found: list[list[float]] = [[] for _ in index_of]
    for picture in _pictures(row):
        if picture.score is not None:
            found[index_of[picture.system]].append(picture.score)
    return [fmean(scores) if scores else None for scores in found]


def _pictures(row: Row) -> Iterator[Picture]:
    return (picture for line in row.lines for picture in line.pictures)


def _drawn(index: int, instance: Instance) -> DrawnBox:
    left, top, right, bottom = (100 * side for side in instance.box)
    place = f"inset: {top:.2f}% {100 - right:.2f}% {100 - bottom:.2f}% {left:.2f}%"
    color = "#{:02x}{:02x}{:02x}".format(*instance_color(index))
    return DrawnBox(place, f"top: {top:.2f}%; left: {left:.2f}%", color, instance.prompt)


def _rounded(box: Sequence[float]) -> list[float]:
    return [round(side, 4) for side in box]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
