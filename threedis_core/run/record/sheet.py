"""The sheet of a run: everything that it is made of and made, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from threedis_core.drawing.layout import SMALLEST_SIDE, draw_layout, has_room_for_prompts
from threedis_core.drawing.regions import draw_named_regions
from threedis_core.drawing.sheet import CELL, Panel, Sheet
from threedis_core.run.result import Run, RunImage
from threedis_core.values.layout import Layout
from threedis_core.values.palette import instance_color

LETTERING = SMALLEST_SIDE / CELL * 1.05
"""Letters of drawings that are shrunk into a cell."""
MOST_COLUMNS = 8
RUNS_BESIDE = 6
MOST_PICTURES = 240
SWITCH = {"on": "hook on", "none": "hook off"}


@dataclass(frozen=True, eq=False)
class SheetOfRun:
    """What the sheet of one run is made of.

    Args:
        name: What the run is called.
        layout: Its layout.
        depth: Its depth map as a picture.
        regions: Its regions with their names.
        pictures: Its pictures, in order.
        record: What ``run.json`` holds.
    """

    name: str
    layout: Layout
    depth: Image.Image
    regions: Image.Image
    pictures: Sequence[RunImage]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run, name: str = "") -> SheetOfRun:
        """The sheet of a run that is here; one with a name stands beside others."""
        layout, depth = run.layout, run.depth.to_image()
        numbered = not name and _is_crowded(layout, depth)
        regions = draw_named_regions(run.regions, layout, LETTERING, numbered)
        return cls(name, layout, depth, regions, run.images, run.record)

    @property
    def warnings(self) -> Sequence[str]:
        """One line each."""
        return [str(warning) for warning in self.record.get("warnings", ())]

    def inputs(self, numbered: bool = False) -> list[Panel]:
        """The layout, with numbers for names if they are told elsewhere, depth map and regions."""
        drawn = draw_layout(self.layout, *self.depth.size, scale=LETTERING, numbered=numbered)
        config = self.record.get("config", {})
        refiner = config.get("region_refiner", {})
        return [
            Panel(drawn, "layout", _counted(len(self.layout.instances), "instance")),
            Panel(self.depth, "depth map", _depth_note(self.record.get("depth", {}))),
            Panel(self.regions, "regions", str(refiner.get("name", ""))),
        ]

    def draw(self) -> Image.Image:
        """Draw it: what the pictures are made from, then a row for each renderer and switch.

        Where the prompts have no room in the layout, numbers stand there, and the prompts beside
        their colours above.
        """
        numbered = _is_crowded(self.layout, self.depth)
        inputs, rows = self.inputs(numbered), self._picture_rows()
        in_one_row = len(rows) == 1 and len(rows[0]) <= 2
        rows = [[*inputs, *rows[0]]] if in_one_row else [inputs, *rows]
        names = [
            (instance_color(index), instance.prompt)
            for index, instance in enumerate(self.layout.instances)
        ]
        title, warnings = self.layout.prompt, self.warnings
        return Sheet(title, rows, self._note(), names, warnings, numbered).draw()

    def _picture_rows(self) -> list[list[Panel]]:
        """A row of seeds for each renderer and switch; of renderers, if there is one seed."""
        pictures = list(self.pictures[:MOST_PICTURES])
        seeds = {one.seed for one in pictures}
        rows: dict[object, list[Panel]] = {}
        pair = len(pictures) == 2
        for one in pictures:
            key = (one.renderer, one.control) if len(seeds) > 1 else one.control
            rows.setdefault(None if pair else key, []).append(_panel(one))
        return [
            row[start : start + MOST_COLUMNS]
            for row in rows.values()
            for start in range(0, len(row), MOST_COLUMNS)
        ]

    def _note(self) -> str:
        config = self.record.get("config", {})
        asked = [f"{name} {config[name]}" for name in ("steps", "guidance") if name in config]
        sizes = {one.image.size for one in self.pictures}
        facts = [" and ".join(f"{width} x {height}" for width, height in sorted(sizes)), *asked]
        if self.layout.negative_prompt:
            facts.append(f"negative prompt: {self.layout.negative_prompt}")
        left_out = len(self.pictures) - MOST_PICTURES
        if left_out > 0:
            facts.append(f"{_counted(left_out, 'picture')} more in the folder")
        return "  ·  ".join(fact for fact in facts if fact)


def _is_crowded(layout: Layout, depth: Image.Image) -> bool:
    return not has_room_for_prompts(layout, *depth.size, scale=LETTERING)


def draw_side_by_side(runs: Sequence[SheetOfRun]) -> Image.Image:
    """Draw several runs, a column for each; pictures of one renderer, seed and switch in a row."""
    rows: list[list[Panel]] = []
    for start in range(0, len(runs), RUNS_BESIDE):
        rows += _columns(runs[start : start + RUNS_BESIDE])
    warnings = [f"{run.name}: {warning}" for run in runs for warning in run.warnings]
    title = _counted(len(runs), "run")
    return Sheet(title, rows, ", ".join(run.name for run in runs), warnings=warnings).draw()


def _columns(runs: Sequence[SheetOfRun]) -> list[list[Panel]]:
    inputs = [run.inputs() for run in runs]
    heads = [
        Panel(made[0].picture, run.name, run.layout.prompt)
        for run, made in zip(runs, inputs, strict=True)
    ]
    rows = [heads, [made[1] for made in inputs], [made[2] for made in inputs]]
    made = [{(one.renderer, one.control, one.seed): one for one in run.pictures} for run in runs]
    keys = _in_order(list(dict.fromkeys(key for pictures in made for key in pictures)))
    most = max(map(len, made))
    if len(keys) > 1.5 * most:  # they have little in common: no place is left empty for it
        columns = [list(pictures.values()) for pictures in made]
        rows += [[_panel(_at(column, row)) for column in columns] for row in range(most)]
    else:
        rows += [[_panel(pictures.get(key)) for pictures in made] for key in keys]
    return rows[:MOST_PICTURES]


def _in_order(keys: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Keys of one renderer and switch together, else as they came."""
    firsts = {key[:2]: place for place, key in reversed(list(enumerate(keys)))}
    return sorted(keys, key=lambda key: firsts[key[:2]])


def _at(pictures: Sequence[RunImage], row: int) -> RunImage | None:
    return pictures[row] if row < len(pictures) else None


def _panel(one: RunImage | None) -> Panel:
    if one is None:
        return Panel()
    switch = SWITCH.get(one.control, one.control)
    return Panel(one.image, one.renderer, f"seed {one.seed}  ·  {switch}")


def _depth_note(facts: Mapping[str, Any]) -> str:
    if "model" not in facts:
        return "as given"
    tries = facts.get("tries") or [facts]
    best = f", best of {len(tries)}" if len(tries) > 1 else ""
    return f"{facts['model']}  ·  seed {tries[0].get('seed', 0)}{best}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
