"""Write the page: one file or, where its pictures would make that too large, a folder."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from threedis_core.compare.report import gallery, tables, words
from threedis_core.compare.report.answer import answer
from threedis_core.compare.report.page import Report
from threedis_core.compare.report.thumbnails import thumbnails
from threedis_core.errors import OptionError
from threedis_core.files.printable import printable
from threedis_core.values.palette import instance_color

MOST_INLINE = 5000
"""Thumbnails that one file holds; with more the page is a folder."""
PAGE, FOLDER = "report.html", "report"
STYLES = ("page.css", "tables.css", "gallery.css")
SCRIPTS = ("page.js", "table.js", "gallery.js", "viewer.js")
LINKED = ("results.csv", "results.parquet", "summary.json", "table.md", "table.tex", "plan.json")

Progress = Callable[[int, int], None]
"""Told after each picture: how many are done, of how many."""


def write_page(report: Report, progress: Progress | None = None, workers: int = 2) -> Path:
    """Write a comparison's page into its folder.

    A page of an earlier call is replaced at once when the new one is complete; one of the other
    kind, a folder or a file, is removed then.

    Args:
        report: What to show.
        progress: Told while thumbnails are made.
        workers: Threads that make them.
    Returns:
        ``report.html``, or ``report/index.html`` with more than 5,000 thumbnails.
    Raises:
        OptionError: A folder ``report`` is there that holds something else.
        OSError: The folder cannot be written; nothing is left behind.
    """
    _check_own(report.folder / FOLDER)
    count = sum(file is not None for file in gallery.files(report))
    single = count <= MOST_INLINE
    target = report.folder / (PAGE if single else FOLDER)
    part = report.folder / f".{target.name}.{uuid4().hex[:8]}.part"
    try:
        if single:
            _write(report, part, "", None, workers, progress)
        else:
            (part / "thumbnails").mkdir(parents=True)
            _write(report, part / "index.html", "../", part / "thumbnails", workers, progress)
        _remove(report.folder / FOLDER)
        if not single:
            _remove(report.folder / PAGE)
        os.replace(part, target)
    finally:
        _remove(part)
    return target if single else target / "index.html"


def _write(
    report: Report,
    file: Path,
    home: str,
    folder: Path | None,
    workers: int,
    progress: Progress | None,
) -> None:
    """Write the page to ``file``; ``home`` leads from there to the comparison's folder."""
    address = _Thumbnails(report, folder, workers, progress)
    rows = gallery.views(report, address, lambda path: _address(path, report.folder, home))
    page = _environment().get_template("page.html.j2").generate(_values(report, rows, home))
    with open(file, "x", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        out.writelines(page)
        out.flush()
        os.fsync(out.fileno())


class _Thumbnails:
    """Gives each picture's thumbnail when its row is written, in the order of the rows."""

    def __init__(
        self, report: Report, folder: Path | None, workers: int, progress: Progress | None
    ) -> None:
        wanted = list(gallery.files(report))
        self._made = thumbnails(wanted, workers)
        self._folder, self._progress = folder, progress
        self._count, self._total = 0, len(wanted)

    def __call__(self, file: Path | None) -> str:
        data = next(self._made)
        self._count += 1
        if self._progress is not None:
            self._progress(self._count, self._total)
        if data is None:
            return ""
        if self._folder is None:
            return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
        name = f"{self._count}.webp"
        (self._folder / name).write_bytes(data)
        return f"thumbnails/{name}"


def _values(report: Report, rows: Iterator[gallery.RowView], home: str) -> dict[str, Any]:
    script = _assets("scripts", SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    shown = tables.overall(report)
    states = _states(report)
    return {
        "report": report,
        "rows": rows,
        "style": Markup(_assets("styles", STYLES)),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "colors": [_color(index) for index in range(len(report.systems))],
        "index_of": {system.name: index for index, system in enumerate(report.systems)},
        "answer": answer(report),
        "tally": _tally(report),
        "tables": shown,
        "tested": any(_is_tested(table) for table in shown),
        "interval_words": _interval_words(report),
        "primary": next((f for f in report.figures if f.key == report.primary), None),
        "strata": list(tables.strata(report)),
        "costs": tables.costs(report),
        "ablations": list(tables.ablations(report)),
        "filters": gallery.strata_of(report),
        "has_judged": bool(states - {"unjudged"}),
        "has_unjudged": "unjudged" in states,
        "links": [
            {"name": name, "target": home + name}
            for name in LINKED
            if (report.folder / name).is_file()
        ],
    }


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("threedis_core.compare.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = cast("dict[str, Any]", made.filters)  # pyright: ignore[reportUnknownMemberType]
    filters.update(
        legible=words.legible,
        amount=words.amount,
        difference=words.difference,
        span=words.span,
        verdict=words.verdict,
        points=words.unit_of_difference,
        probability=words.probability,
        seconds=words.seconds,
        memory=words.memory,
    )
    return made


def _assets(folder: str, names: tuple[str, ...]) -> str:
    home = package_files("threedis_core.compare.report") / "assets" / folder
    return "\n".join((home / name).read_text("utf-8") for name in names)


def _address(file: Path | None, folder: Path, home: str) -> str:
    """A file of the comparison as the page links it; "" for one that lies elsewhere."""
    if file is None or not file.is_relative_to(folder):
        return ""
    return home + quote(file.relative_to(folder).as_posix())


def _tally(report: Report) -> dict[str, int]:
    planned = sum(system.planned for system in report.systems)
    done = sum(system.done for system in report.systems)
    failed = sum(system.failed for system in report.systems)
    return {"planned": planned, "done": done, "failed": failed, "open": planned - done - failed}


def _is_tested(table: tables.Table) -> bool:
    differences = [cell.difference for cell in table.cells.values() if cell.difference]
    return any(found.p_adjusted is not None for found in differences)


def _interval_words(report: Report) -> str:
    kinds = {cell.interval for cell in report.cells if cell.low is not None}
    told = "a BCa bootstrap that resamples layouts"
    if "wilson" in kinds:
        told += "; W marks Wilson's, where every layout gives 0 or 1"
    if "percentile" in kinds:
        told += "; P marks the bootstrap's percentiles, where BCa cannot be computed"
    return told


def _states(report: Report) -> set[str]:
    """What is said of any instance."""
    pictures = (p for row in report.rows for line in row.lines for p in line.pictures)
    return {verdict.state for picture in pictures for verdict in picture.verdicts}


def _color(index: int) -> str:
    """A system's colour: a little darker on white paper, a little lighter on black."""
    color = "#{:02x}{:02x}{:02x}".format(*instance_color(index))
    dark = f"color-mix(in oklab, {color}, black 14%)"
    return f"light-dark({dark}, color-mix(in oklab, {color}, white 18%))"


def _check_own(folder: Path) -> None:
    """Refuse to replace a folder in which somebody keeps something else."""
    others = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    others -= {"index.html", "thumbnails"}
    if others:
        raise OptionError(
            f"{printable(folder)} holds {printable(min(others), 60)}, which is no part of a "
            "report; move it: the folder is replaced",
            code="folder-taken",
            file=folder,
            hint="move what is in it",
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
