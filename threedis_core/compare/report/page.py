"""What the report's page shows: plain values, without a word about the files they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Value = bool | float | str | None
Rectangle = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the picture."""
State = Literal["done", "failed", "not done"]
Judged = Literal["right", "wrong", "missing", "unjudged"]
"""Of an instance: found and right; found and not right; not found; nobody has judged it."""


@dataclass(frozen=True)
class Figure:
    """A number that systems are compared by.

    Args:
        key: "metric.name", as the plan's ``primary`` names it.
        title: Short, for the head of a column: "ISR".
        unit: "%" for shares, which are kept as fractions; else what is written after the number.
        better: Which way is better.
        meaning: One plain sentence.
        judge: The detector whose findings it rests on; "" for none.
    """

    key: str
    title: str
    unit: str = "%"
    better: Literal["higher", "lower"] = "higher"
    meaning: str = ""
    judge: str = ""


@dataclass(frozen=True)
class Difference:
    """How far a system is from the baseline, and how sure that is.

    Args:
        value: System minus baseline, in the figure's own unit.
        low: Lower end of its 95 % interval; None if there is none.
        high: Upper end.
        p: Of the permutation test over layouts.
        p_adjusted: The same after Holm's correction; None where none was made.
        smallest: The smallest difference that so many layouts would show.
        verdict: In words: "better", "worse", "not distinguished".
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    smallest: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Cell:
    """One number of the tables: a figure of one system, over all layouts or one part of them.

    Args:
        figure: Key of the figure.
        system: Name of the system.
        stratum: ("level", "L3"); None over all layouts.
        value: None where nothing could be counted.
        low: Lower end of the 95 % interval; None if there is none.
        high: Upper end.
        interval: How the interval was made: "bca", "percentile", "wilson", "none".
        complete: Over what every system completed; False counts what failed as 0.
        exploratory: Not what the plan set out to test.
        difference: From the baseline.
        from_base: From the renderer that it is a variant of, where that is not the baseline.
    """

    figure: str
    system: str
    value: float | None
    stratum: tuple[str, str] | None = None
    low: float | None = None
    high: float | None = None
    interval: str = "bca"
    layouts: int = 0
    instances: int = 0
    complete: bool = True
    exploratory: bool = False
    difference: Difference | None = None
    from_base: Difference | None = None


@dataclass(frozen=True)
class System:
    """One of the systems that are compared: a row of every table.

    Args:
        base: The name without the label of a variant.
        options: What it was given.
        planned: Pictures that belong to it.
        seconds: Of one picture, by stage: {"render": 1.2}.
        loading: Seconds that its models took to load, in all; None if nobody measured.
        memory: The most memory that it took, in bytes; None if nobody measured.
    """

    name: str
    base: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    planned: int = 0
    done: int = 0
    failed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    loading: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Instance:
    """What a layout asks for in one place."""

    prompt: str
    box: Rectangle


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one instance in one picture.

    Args:
        state: In a word.
        values: Everything that the metrics say: {"found": True, "iou": 0.83}.
        found: Where the detector saw it best.
    """

    state: Judged
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    found: Rectangle | None = None


@dataclass(frozen=True)
class Picture:
    """What one system made of a layout with one seed.

    Args:
        file: The full picture; None if there is none.
        score: Of the primary figure, in this picture alone; None if nobody judged it.
        values: Everything that the metrics say of the picture as a whole.
        note: Why it failed.
    """

    key: str
    system: str
    state: State
    file: Path | None = None
    score: float | None = None
    verdicts: Sequence[Verdict] = ()
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    note: str = ""


@dataclass(frozen=True)
class Depth:
    """A depth map that pictures of a line were rendered from."""

    label: str
    file: Path | None


@dataclass(frozen=True)
class Line:
    """The pictures of a layout with one seed, in the order of the systems.

    Args:
        depths: The depth maps that no line above shows.
    """

    seed: str
    depths: Sequence[Depth]
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Row:
    """A layout and all that was made of it.

    Args:
        strata: The parts of the data that it belongs to: {"level": "L3"}.
        size: Width and height that it is meant for; only their ratio matters.
    """

    name: str
    prompt: str
    instances: Sequence[Instance]
    lines: Sequence[Line]
    strata: Mapping[str, str] = field(default_factory=dict[str, str])
    size: tuple[int, int] = (512, 512)


@dataclass(frozen=True)
class Failure:
    """Pictures that could not be made, for one and the same reason."""

    reason: str
    stage: str
    systems: Sequence[str]
    count: int


@dataclass(frozen=True)
class Report:
    """The whole page.

    Args:
        folder: Where the comparison lies: full pictures and tables are linked from there.
        primary: Key of the figure that the plan chose before the run.
        baseline: Name of the system that the others are held against; "" for none.
        facts: What somebody needs who wants the same numbers: (name, value).
        missing: What the page lacks and why, one sentence each.
    """

    title: str
    folder: Path
    primary: str
    baseline: str
    systems: Sequence[System]
    figures: Sequence[Figure]
    cells: Sequence[Cell]
    rows: Sequence[Row]
    failures: Sequence[Failure] = ()
    facts: Sequence[tuple[str, str]] = ()
    missing: Sequence[str] = ()
