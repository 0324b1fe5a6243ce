"""The demo: a contact sheet of pocket layouts with their depth, and the hook off and on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from threedis_core.draw import draw_layout
from threedis_core.interfaces import RenderBackend
from threedis_core.layout import Layout
from threedis_core.palette import Color
from threedis_core.plugins import PluginRegistry
from threedis_core.progress import Progress, silent
from threedis_pocket.bench import BASE_MODEL, SIZE, scene_request
from threedis_pocket.contact_sheet import contact_sheet
from threedis_pocket.detector import Detector
from threedis_pocket.layouts import colour_index, sample_layouts
from threedis_pocket.measure import judge
from threedis_pocket.world import COLOURS, PALETTE

LAYOUTS = 6
LETTERING = 1.3  # the drawings are shrunk into the sheet's cells
HOOK = {"off": BASE_MODEL, "on": None}  # the control schedule of a request
TITLES = ("layout", "depth map", "prompt only (hook off)", "ThreeDIS (hook on)")


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
    backend: RenderBackend, layouts: Sequence[Layout], seed: int, switch: str, progress: Progress
) -> list[Image.Image]:
    """One picture per layout, with the hook ``on`` or ``off``."""

    def step(stage: str, done: int, total: int) -> None:
        progress(f"hook {switch}", done, total)

    requests = [scene_request(layout, seed, HOOK[switch]) for layout in layouts]
    return [result.image for result in backend.render(requests, step)]


def _colors(layout: Layout) -> list[Color]:
    """The colour that each prompt names, so that the drawing says what is asked for."""
    names = [COLOURS[colour_index(layout, i) or 0] for i in range(len(layout.instances))]
    return [tuple(round(255 * part) for part in PALETTE[name]) for name in names]


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
    preset: str = "pocket-sd15",
    count: int = LAYOUTS,
    seed: int = 0,
    progress: Progress = silent,
) -> Demo:
    """Render ``count`` layouts with the hook off and on; write ``out/contact-sheet.png``."""
    layouts = demo_layouts(count)
    with closing(registry.renderer(preset)) as backend:
        off, on = (_pictures(backend, layouts, seed, switch, progress) for switch in HOOK)
    figures = (
        f"{preset}, {len(layouts)} layouts, seed {seed}: colour right and box IoU >= 0.5 in "
        f"{_score(layouts, on)} instances with the hook, {_score(layouts, off)} without"
    )
    rows = [
        (
            draw_layout(layout, SIZE, SIZE, scale=LETTERING, colors=_colors(layout)),
            scene_request(layout, seed).depth.to_image(),
            off[number],
            on[number],
        )
        for number, layout in enumerate(layouts)
    ]
    path = out / "contact-sheet.png"
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, TITLES, figures).save(path)
    return Demo(path, figures)
