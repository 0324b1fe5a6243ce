"""The pocket benchmark: held-out layouts, exact depth, the hook on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from threedis_core.depth import DepthMap
from threedis_core.interfaces import RenderBackend, RenderRequest
from threedis_core.layout import Layout
from threedis_core.plugins import PluginRegistry
from threedis_core.progress import Progress, silent
from threedis_core.regions import Regions
from threedis_core.schedule import ControlSchedule
from threedis_pocket.detector import Detector
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.measure import Judgement, judge, summarise
from threedis_pocket.world import draw

SIZE = 128
SPLIT = "test"  # training never draws from it
BASE_MODEL = ControlSchedule()


def scene_request(
    layout: Layout, seed: int, control: ControlSchedule | None = None, size: int = SIZE
) -> RenderRequest:
    """A request for a pocket layout with its exact depth; ``control`` as in RenderRequest."""
    depth = DepthMap(draw(layout_scene(layout), size, size, supersample=1).depth[0].numpy())
    regions = Regions.from_layout(layout, size, size)
    return RenderRequest(layout, depth, regions, seed, size, size, control=control)


def measure_backend(
    backend: RenderBackend,
    layouts: Sequence[Layout],
    seeds: Sequence[int],
    control: ControlSchedule | None,
    progress: Progress = silent,
    batch_size: int = 8,
) -> list[Judgement]:
    """Render every layout with every seed and judge every instance."""
    requests = [scene_request(layout, seed, control) for layout in layouts for seed in seeds]
    detector = Detector()
    judged: list[Judgement] = []
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        for offset, result in enumerate(backend.render(batch)):
            picture = np.asarray(result.image)
            judged += judge(batch[offset].layout, picture, detector, start + offset)
        progress("pictures", start + len(batch), len(requests))
    return judged


def exact_ceiling(layouts: Sequence[Layout]) -> list[Judgement]:
    """Judge the world's own pictures of the layouts: what a perfect renderer would get."""
    detector = Detector()
    judged: list[Judgement] = []
    for number, layout in enumerate(layouts):
        rgb = draw(layout_scene(layout), SIZE, SIZE).rgb[0]
        picture = (rgb * 255).round().byte().permute(1, 2, 0).numpy()
        judged += judge(layout, picture, detector, number)
    return judged


def bench_pocket(
    registry: PluginRegistry,
    presets: Sequence[str],
    layouts: int = 96,
    seeds: int = 2,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure presets with the hook on and off.

    Returns:
        {"presets": {name: {"on" | "off": {metric: {group: {"value", "low", "high", "n"}}}}},
        "ceiling": {metric: ...}, "settings": {...}}, JSON-ready.
    """
    backends = {name: registry.renderer(name) for name in presets}
    chosen = sample_layouts(SPLIT, layouts)
    table: dict[str, Any] = {}
    for name, backend in backends.items():
        table[name] = {
            switch: summarise(measure_backend(backend, chosen, range(seeds), control, progress))
            for switch, control in (("on", None), ("off", BASE_MODEL))
        }
        backend.close()
    return {
        "presets": table,
        "ceiling": summarise(exact_ceiling(chosen)),
        "settings": {"split": SPLIT, "layouts": layouts, "seeds": list(range(seeds))},
    }
