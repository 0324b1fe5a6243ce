"""The demo: a contact sheet of pocket layouts with their depth, and the hook off and on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from threedis_core.draw import draw_layout
from threedis_core.interfaces import RenderRequest
from threedis_core.layout import Layout
from threedis_core.plugins import PluginRegistry
from threedis_core.progress import Progress, silent
from threedis_core.schedule import ControlSchedule
from threedis_pocket.bench import BASE_MODEL, SIZE, scene_request
from threedis_pocket.contact_sheet import contact_sheet
from threedis_pocket.detector import Detector
from threedis_pocket.layouts import sample_layouts
from threedis_pocket.measure import Judgement, judge

LAYOUTS = 6


@dataclass(frozen=True)
class Demo:
    """Where the contact sheet is, and what was measured on its pictures."""

    path: Path
    figures: str


def demo_layouts(count: int = LAYOUTS) -> list[Layout]:
    """Validation layouts of three to five objects, at least two of them of one shape."""
    layouts = sample_layouts("validation", 128)
    telling = [
        layout
        for layout in layouts
        if len(layout.instances) >= 3
        and len({i.label for i in layout.instances}) < len(layout.instances)
    ]
    return telling[:count]


def _requests(
    layouts: Sequence[Layout], seed: int, control: ControlSchedule | None
) -> list[RenderRequest]:
    return [scene_request(layout, seed, control) for layout in layouts]


def _line(judged: dict[str, list[Judgement]]) -> str:
    parts = [
        f"hook {switch}: {sum(j.right for j in found)} of {len(found)} instances right"
        for switch, found in judged.items()
    ]
    return "; ".join(parts) + " (colour, and box IoU >= 0.5)"


def make_demo(
    registry: PluginRegistry,
    out: Path,
    preset: str = "pocket-sd15",
    seed: int = 0,
    progress: Progress = silent,
) -> Demo:
    """Render the demo layouts with the hook off and on; write ``out/contact-sheet.png``."""
    layouts = demo_layouts()
    backend = registry.renderer(preset)
    pictures: dict[str, list[Image.Image]] = {}
    judged: dict[str, list[Judgement]] = {}
    detector = Detector()
    for switch, control in (("off", BASE_MODEL), ("on", None)):

        def step(stage: str, done: int, total: int, switch: str = switch) -> None:
            progress(f"{preset}, hook {switch}", done, total)

        results = backend.render(_requests(layouts, seed, control), step)
        pictures[switch] = [result.image for result in results]
        judged[switch] = [
            one
            for layout, image in zip(layouts, pictures[switch], strict=True)
            for one in judge(layout, np.asarray(image), detector)
        ]
    backend.close()
    figures = f"{preset}, {len(layouts)} layouts, seed {seed}: {_line(judged)}"
    rows = [
        [
            draw_layout(layout, SIZE, SIZE),
            scene_request(layout, seed).depth.to_image(),
            pictures["off"][i],
            pictures["on"][i],
        ]
        for i, layout in enumerate(layouts)
    ]
    titles = ("layout", "depth map", "prompt only (hook off)", "ThreeDIS (hook on)")
    sheet = contact_sheet(rows, titles, figures)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "contact-sheet.png"
    sheet.save(path)
    return Demo(path, figures)
