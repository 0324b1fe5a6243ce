"""The benchmark of layouts as people draw them: both stages, the way that a user goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from threedis_core import Engine
from threedis_core.errors import LayoutError
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.result import Run, RunImage
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import Judgement, apart, judge, mean_figure, summarise
from threedis_pocket.layouts import layout_scene, wild_layouts
from threedis_pocket.world import draw

SPLIT = "test"  # training never draws from it
EXACT = "exact"


def bench_wild(
    registry: PluginRegistry,
    presets: Sequence[str],
    layouts: int = 96,
    seeds: int = 1,
    depth_model: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Render wild layouts by ``Engine.render`` with default settings, and judge every instance.

    Args:
        depth_model: Makes the depth maps; None is the run's default, ``exact`` exact depth.

    Returns:
        As ``bench_pocket``; beside each summary ``unsaid``: the share of instances that are
        missing in the picture, and no warning of the run names them.
    """
    chosen = wild_layouts(SPLIT, layouts)
    judged: dict[str, list[Judgement]] = {name: [] for name in presets}
    unsaid: dict[str, list[tuple[bool, int]]] = {name: [] for name in presets}
    detector = Detector()
    with Engine(registry=registry) as engine:
        for number, layout in enumerate(chosen):
            run = _run(engine, layout, presets, range(seeds), depth_model)
            for image in run.images:
                picture = np.asarray(image.image)
                own = judge(layout, picture, detector, number * seeds + image.seed, number)
                judged[image.renderer] += own
                unsaid[image.renderer] += [
                    (not one.there and not named(run, image, slot), number)
                    for slot, one in enumerate(own)
                ]
            progress("wild layouts", number + 1, layouts)
    return {
        "presets": {
            name: {"on": {**summarise(judged[name]), "unsaid": mean_figure(*apart(unsaid[name]))}}
            for name in presets
        },
        "ceiling": summarise(wild_ceiling(chosen)),
        "settings": {
            "split": "wild",
            "layouts": layouts,
            "seeds": list(range(seeds)),
            "depth": depth_model,
        },
    }


def _run(
    engine: Engine,
    layout: Layout,
    presets: Sequence[str],
    seeds: Sequence[int],
    depth_model: str | None,
) -> Run:
    settings: dict[str, Any] = {"renderers": presets, "seeds": seeds, "depth_cache": False}
    if depth_model == EXACT:
        return engine.render(layout, depth=exact_depth(layout), **settings)
    return engine.render(layout, depth_model=depth_model, **settings)


def exact_depth(layout: Layout) -> DepthMap:
    """The world's own depth of a layout that has a size."""
    scene = layout_scene(layout)
    return DepthMap(draw(scene, *_size(layout), supersample=1).depth[0].numpy())


def wild_ceiling(layouts: Sequence[Layout]) -> list[Judgement]:
    """Judge the world's own pictures of the layouts: what a perfect renderer would get."""
    detector = Detector()
    judged: list[Judgement] = []
    for number, layout in enumerate(layouts):
        rgb = draw(layout_scene(layout), *_size(layout)).rgb[0]
        picture = (rgb * 255).round().byte().permute(1, 2, 0).numpy()
        judged += judge(layout, picture, detector, number)
    return judged


def _size(layout: Layout) -> tuple[int, int]:
    """(height, width) in pixels.

    Raises:
        LayoutError: It has none.
    """
    if layout.height is None or layout.width is None:
        raise LayoutError("a layout without width and height has no picture of the world's own")
    return layout.height, layout.width


def named(run: Run, image: RunImage, slot: int) -> bool:
    """True if a warning of the run, or of that picture of it, names instance ``slot``."""
    others = {warning for one in run.images if one is not image for warning in one.warnings}
    told = [*image.warnings, *(line for line in run.warnings if line not in others)]
    return any(f"instances[{slot}]" in line for line in told)
