"""Pictures that other tools have made, as a file lists them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from threedis_core.errors import OptionError
from threedis_core.files.documents import read_text
from threedis_core.files.limits import MAX_DATASET_BYTES
from threedis_core.files.pictures import check_file
from threedis_core.files.printable import printable
from threedis_core.suggest import did_you_mean

COLUMNS = ("layout", "seed", "system", "file")


@dataclass(frozen=True)
class OtherPicture:
    """A picture of another tool.

    Args:
        layout: The id of its layout in the comparison.
        seed: Its seed, or its number among those of its layout.
        system: What made it.
        file: Where it lies.
        sha256: Of the file.
    """

    layout: str
    seed: int
    system: str
    file: Path
    sha256: str


def read_manifest(
    path: Path, layouts: Collection[str], systems: Collection[str]
) -> list[OtherPicture]:
    """Read the list of another tool's pictures.

    Args:
        path: A CSV file with the columns ``layout``, ``seed``, ``system`` and ``file``; files are
            relative to it.
        layouts: The ids of the comparison's layouts.
        systems: The names of its own systems.
    Raises:
        OptionError: One line that names the file, the row and what is wrong with it.
    """
    text = read_text(path, OptionError, MAX_DATASET_BYTES)
    rows = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise _wrong(path, 1, f"has no column '{missing[0]}'; expected {', '.join(COLUMNS)}")
    found: dict[tuple[str, str, int], OtherPicture] = {}
    for row in rows:
        one = _picture(path, rows.line_num, row, layouts, systems)
        key = (one.system, one.layout, one.seed)
        if key in found:
            raise _wrong(path, rows.line_num, f"{' '.join(map(str, key))} is there twice")
        found[key] = one
    if not found:
        raise _wrong(path, 1, "lists no picture")
    return list(found.values())


def _picture(
    path: Path,
    line: int,
    row: Mapping[str, str | None],
    layouts: Collection[str],
    systems: Collection[str],
) -> OtherPicture:
    layout, seed, system, file = ((row[name] or "").strip() for name in COLUMNS)
    if layout not in layouts:
        near = did_you_mean(layout, list(layouts))
        raise _wrong(path, line, f"layout {printable(layout, 80)!r} is not compared.{near}")
    if not seed.isdecimal() or len(seed) > 18:
        raise _wrong(path, line, f"seed {printable(seed, 40)!r}: expected a whole number")
    if not system or system in systems or not system.isprintable() or len(system) > 80:
        told = "is a renderer's name already" if system in systems else "expected a name"
        raise _wrong(path, line, f"system {printable(system, 40)!r}: {told}")
    place = path.parent / Path(file).expanduser()
    check_file(place, OptionError)
    sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
    return OtherPicture(layout, int(seed), system, place, sha256)


def _wrong(path: Path, line: int, what: str) -> OptionError:
    return OptionError(f"{printable(path)}, line {line}: {what}", file=path, path="pictures")
