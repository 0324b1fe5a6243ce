"""Read back what a run has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from threedis_core.errors import InputError, OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.pictures import open_picture
from threedis_core.files.printable import printable
from threedis_core.run.config import RUN_SIGN
from threedis_core.run.folder import RUN_JSON
from threedis_core.run.record.sheet import SheetOfRun
from threedis_core.run.result import RunImage
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

LAYOUT, DEPTH, REGIONS = "layout.json", "depth.png", "regions.png"


def runs_in(folder: Path) -> list[Path]:
    """The run's folder itself, or those in it if it is none."""
    if (folder / RUN_JSON).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{RUN_JSON}")) or [folder]


def read_record(folder: Path) -> dict[str, Any]:
    """What ``run.json`` in a run's folder says.

    Raises:
        OptionError: There is none, or it is none of ours.
    """
    name = printable(folder)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "not there"
        raise OptionError(f"{name} is {kind}; expected the folder of a run")
    if not (folder / RUN_JSON).is_file():
        raise OptionError(f"{name} is no run: it has no {RUN_JSON}")
    document: Any = read_document(folder / RUN_JSON, OptionError)
    if not isinstance(document, Mapping) or RUN_SIGN not in document:
        raise OptionError(f"{name} is no run: its {RUN_JSON} was not written by ThreeDIS")
    return dict(cast("Mapping[str, Any]", document))


def read_sheet(folder: Path) -> SheetOfRun:
    """What the sheet of the run in ``folder`` is made of; pictures that are gone are left out.

    Raises:
        OptionError: It is no run's folder.
        InputError: A file of it is missing or damaged.
    """
    record = read_record(folder)
    try:
        listed = [_image(folder, facts) for facts in record["images"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OptionError(f"{printable(folder)}: its {RUN_JSON} is damaged: {error!r}") from error
    return SheetOfRun(
        folder.resolve().name,
        Layout.load(folder / LAYOUT),
        DepthMap.load(folder / DEPTH).to_image(),
        open_picture(folder / REGIONS, InputError, "a picture", ("PNG",)),
        [image for image in listed if image is not None],
        record,
    )


def _image(folder: Path, facts: Mapping[str, Any]) -> RunImage | None:
    file = folder / Path(str(facts["file"])).name
    if not file.is_file():
        return None
    picture = open_picture(file, InputError, "a picture", ("PNG",))
    seed, control = int(facts["seed"]), str(facts.get("control", "on"))
    return RunImage(str(facts["renderer"]), seed, picture, facts, (), file, control)
