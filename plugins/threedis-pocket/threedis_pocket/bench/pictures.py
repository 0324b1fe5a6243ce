"""The pocket benchmark: held-out layouts, exact depth, the hook on and off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from threedis_core.plugin.interfaces import DepthModel, DepthRequest, RenderBackend, RenderRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import Judgement, judge, summarise
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.world import draw

SIZE = 128
SPLIT = "test"  # training never draws from it
BASE_MODEL = ControlSchedule()


def scene_request(
    layout: Layout,
    seed: int,
    control: ControlSchedule | None = None,
    size: int = SIZE,
    depth: DepthMap | None = None,
) -> RenderRequest:
    """A request for a pocket layout; ``control`` as in RenderRequest, ``depth`` exact if None."""
    if depth is None:
        depth = DepthMap(draw(layout_scene(layout), size, size, supersample=1).depth[0].numpy())
    regions = Regions.from_layout(layout, size, size)
    return RenderRequest(layout, depth, regions, seed, size, size, control=control)


def make_maps(
    model: DepthModel, layouts: Sequence[Layout], seeds: Sequence[int], progress: Progress = silent
) -> list[DepthMap]:
    """Maps of every layout with every seed, layout after layout."""
    requests = [DepthRequest(layout, seed, SIZE, SIZE) for layout in layouts for seed in seeds]
    return model.generate(requests, progress)


def measure_backend(
    backend: RenderBackend,
    layouts: Sequence[Layout],
    seeds: Sequence[int],
    control: ControlSchedule | None,
    progress: Progress = silent,
    batch_size: int = 8,
    maps: Sequence[DepthMap] | None = None,
) -> list[Judgement]:
    """Render every layout with every seed and judge every instance.

    ``maps`` has the depth of every picture, layout after layout; None is exact depth.
    """
    pictures = [(layout, seed) for layout in layouts for seed in seeds]
    requests = [
        scene_request(layout, seed, control, depth=maps[number] if maps else None)
        for number, (layout, seed) in enumerate(pictures)
    ]
    detector = Detector()
    judged: list[Judgement] = []
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        for offset, result in enumerate(backend.render(batch)):
            picture = np.asarray(result.image)
            number = start + offset
            place = number // len(seeds)
            judged += judge(batch[offset].layout, picture, detector, number, place)
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


def pocket_presets(registry: PluginRegistry) -> list[str]:
    """The names of the renderer presets that are for the pocket world."""
    return [name for name in registry.names("renderer") if name.startswith("pocket-")]


def bench_pocket(
    registry: PluginRegistry,
    presets: Sequence[str],
    layouts: int = 96,
    seeds: int = 2,
    without: Sequence[str] = (),
    progress: Progress = silent,
    depth_model: str | None = None,
) -> dict[str, Any]:
    """Measure presets with the hook on and off, and with one control off at a time.

    Args:
        without: Controls that are on/off options of the presets' renderers, such as ``i2i``.
        depth_model: Makes the depth map of each picture, with the picture's seed; None is exact
            depth.

    Returns:
        {"presets": {name: {"on" | "without CONTROL" | "off": {metric: {group: {"value", "low",
        "high", "n"}}}}}, "ceiling": {metric: ...}, "settings": {...}}, JSON-ready.

    Raises:
        OptionError: A renderer has no such option.
    """
    chosen = sample_layouts(SPLIT, layouts)
    maps = None
    if depth_model is not None:
        with closing(registry.depth_model(depth_model)) as model:
            maps = make_maps(model, chosen, range(seeds), progress)
    rows = [row for name in presets for row in _rows(registry, name, without)]
    table: dict[str, Any] = {name: {} for name in presets}
    for name, switch, backend, control in rows:
        with closing(backend):
            judged = measure_backend(backend, chosen, range(seeds), control, progress, maps=maps)
        table[name][switch] = summarise(judged)
    return {
        "presets": table,
        "ceiling": summarise(exact_ceiling(chosen)),
        "settings": {
            "split": SPLIT,
            "layouts": layouts,
            "seeds": list(range(seeds)),
            "depth": depth_model,
        },
    }


def _rows(
    registry: PluginRegistry, name: str, without: Sequence[str]
) -> Iterator[tuple[str, str, RenderBackend, ControlSchedule | None]]:
    """What is measured of a preset: (preset, switch, backend, control schedule)."""
    yield name, "on", registry.renderer(name), None
    for control in without:
        yield name, f"without {control}", registry.renderer(name, {control: False}), None
    yield name, "off", registry.renderer(name), BASE_MODEL
