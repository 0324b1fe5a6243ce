"""Pictures of held-out layouts, and what the world itself would draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from threedis_core.plugin.interfaces import DepthModel, DepthRequest, RenderBackend, RenderRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import Judgement, judge
from threedis_pocket.layouts import layout_scene
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
) -> list[Judgement]:
    """Render every layout with every seed, from exact depth, and judge every instance."""
    pictures = [(layout, seed) for layout in layouts for seed in seeds]
    requests = [scene_request(layout, seed, control) for layout, seed in pictures]
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
