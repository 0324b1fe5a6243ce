"""The demo: layouts, their depth maps, and every base model on them, in one contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from threedis_core.drawing.contact_sheet import contact_sheet
from threedis_core.drawing.layout import draw_layout
from threedis_core.files.png import write_png
from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.palette import Color
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import judge
from threedis_pocket.bench.pictures import BASE_MODEL, SIZE, make_maps, scene_request
from threedis_pocket.layouts import colour_index, sample_layouts
from threedis_pocket.world import COLOURS, PALETTE

LAYOUTS = 4
DEPTH_MODEL = "pocket-depth"
LETTERING = 1.3  # the drawings are shrunk into the sheet's cells
HOOK = {"off": BASE_MODEL, "on": None}  # the control schedule of a request
ROW_TITLES = ("prompt only (hook off)", "ThreeDIS (hook on)")


@dataclass(frozen=True)
class Demo:
    """Where the contact sheet is, and what was measured on its pictures."""

    path: Path
    figures: str


def demo_layouts(count: int = LAYOUTS) -> list[Layout]:
    """Validation layouts of four or five objects, at least two of them of one shape."""
    layouts = sample_layouts("validation", 128)
    telling = [
        layout
        for layout in layouts
        if len(layout.instances) >= 4
        and len({i.label for i in layout.instances}) < len(layout.instances)
    ]
    return telling[:count]


def _pictures(
    backend: RenderBackend,
    name: str,
    layouts: Sequence[Layout],
    maps: Sequence[DepthMap],
    seed: int,
    progress: Progress,
) -> dict[str, list[Image.Image]]:
    """One picture per layout, with the hook ``off`` and ``on``."""
    pictures = {}
    for switch, control in HOOK.items():

        def step(stage: str, done: int, total: int, switch: str = switch) -> None:
            progress(f"{name}, hook {switch}", done, total)

        requests = [
            scene_request(layout, seed, control, depth=depth)
            for layout, depth in zip(layouts, maps, strict=True)
        ]
        pictures[switch] = [result.image for result in backend.render(requests, step)]
    return pictures


def _colors(layout: Layout) -> list[Color]:
    """The colour that each prompt names, so that the drawing says what is asked for."""
    names = [COLOURS[colour_index(layout, i) or 0] for i in range(len(layout.instances))]
    return [tuple(round(255 * part) for part in PALETTE[name]) for name in names]  # pyright: ignore[reportReturnType]


def _score(layouts: Sequence[Layout], pictures: Sequence[Image.Image]) -> str:
    """How many instances are right, "7 of 24"."""
    detector = Detector()
    judged = [
        one.right
        for layout, picture in zip(layouts, pictures, strict=True)
        for one in judge(layout, np.asarray(picture), detector)
    ]
    return f"{sum(judged)} of {len(judged)}"


def make_demo(
    registry: PluginRegistry,
    out: Path,
    presets: Sequence[str],
    count: int = LAYOUTS,
    seed: int = 0,
    progress: Progress = silent,
) -> Demo:
    """Make depth maps of ``count`` layouts, render them with every preset, draw a sheet.

    The sheet is ``out/contact-sheet.png``.
    """
    layouts = demo_layouts(count)
    with closing(registry.depth_model(DEPTH_MODEL)) as model:
        maps = make_maps(model, layouts, (seed,), progress)
    pictures, scores = {}, {}
    for name in presets:
        with closing(registry.renderer(name)) as backend:
            pictures[name] = _pictures(backend, name, layouts, maps, seed, progress)
        scores[name] = {switch: _score(layouts, made) for switch, made in pictures[name].items()}
    groups = [
        _group(layout, maps[number], pictures, number) for number, layout in enumerate(layouts)
    ]
    titles = [("layout, depth map", f"made by {DEPTH_MODEL}")] + [
        (name, f"right: {score['off']} off, {score['on']} on") for name, score in scores.items()
    ]
    footer = f"{len(layouts)} layouts, seed {seed}; right: the prompt's colour and box IoU >= 0.5"
    path = out / "contact-sheet.png"
    out.mkdir(parents=True, exist_ok=True)
    write_png(path, contact_sheet(groups, titles, ROW_TITLES, footer))
    figures = [
        f"{name}: {score['on']} instances right with the hook, {score['off']} without"
        for name, score in scores.items()
    ]
    return Demo(path, "\n".join([*figures, footer]))


def _group(
    layout: Layout, depth: DepthMap, pictures: dict[str, dict[str, list[Image.Image]]], number: int
) -> list[list[Image.Image]]:
    """A layout's two rows: hook off and hook on, led by its drawing and its depth map."""
    drawing = draw_layout(layout, SIZE, SIZE, scale=LETTERING, colors=_colors(layout))
    return [
        [first, *(made[switch][number] for made in pictures.values())]
        for first, switch in ((drawing, "off"), (depth.to_image(), "on"))
    ]
