"""The benchmark of the depth stage: do things stand where the layout wants them?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.table import Table

from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_pocket.bench.measure import Figure, instance_layouts, mean_figure
from threedis_pocket.bench.pictures import SPLIT, make_maps
from threedis_pocket.bench.silhouettes import find_silhouettes
from threedis_pocket.bench.tables import cell
from threedis_pocket.layouts import sample_layouts
from threedis_pocket.scene_depth import PocketScene, PocketSceneOptions

TEXT_ONLY = {"adapter": None, "fuser_steps": 0}
"""Options that leave text to depth alone."""
NO_FUSION = {"fuser_steps": 0}
FOUND = 0.5
"""An instance is found if a silhouette's box has at least this IoU with the layout's box."""


def placed(layouts: Sequence[Layout], maps: Sequence[DepthMap]) -> list[float]:
    """For each instance the best IoU of its box with a silhouette's, layout after layout."""
    ious: list[float] = []
    for layout, depth in zip(layouts, maps, strict=True):
        found = find_silhouettes(depth.values)
        for instance in layout.instances:
            ious.append(max((instance.box.iou(box) for box in found), default=0.0))
    return ious


def bench_depth(
    registry: PluginRegistry,
    name: str,
    layouts: int = 96,
    seeds: int = 2,
    progress: Progress = silent,
) -> dict[str, dict[str, Figure]]:
    """Measure a depth model like ``ldm3d`` with its adapter on and off, beside exact depth.

    Returns:
        {row: {"found": share of instances, "iou": mean IoU}}, JSON-ready.
    """
    chosen = sample_layouts(SPLIT, layouts)
    switches: dict[str, dict[str, Any]] = {
        "adapter and fusion": {},
        "adapter alone": NO_FUSION,
        "text alone": TEXT_ONLY,
    }
    figures: dict[str, dict[str, Figure]] = {}
    for row, options in switches.items():
        with closing(registry.depth_model(name, options)) as model:
            maps = make_maps(model, chosen, range(seeds), progress)
        figures[row] = _figures(placed(_each(chosen, seeds), maps), chosen, seeds)
    exact = make_maps(PocketScene(PocketSceneOptions()), chosen, (0,))
    figures["exact depth"] = _figures(placed(chosen, exact), chosen)
    return figures


def _each(layouts: Sequence[Layout], seeds: int) -> list[Layout]:
    return [layout for layout in layouts for _ in range(seeds)]


def _figures(ious: Sequence[float], layouts: Sequence[Layout], seeds: int = 1) -> dict[str, Figure]:
    places = instance_layouts(layouts, seeds)
    return {
        "found": mean_figure([iou >= FOUND for iou in ious], places),
        "iou": mean_figure(ious, places),
    }


def print_depth_table(name: str, figures: dict[str, dict[str, Figure]]) -> None:
    """Print value, 95 % interval and number of instances of each row."""
    table = Table(name, f"silhouette IoU ≥ {FOUND}", "mean IoU")
    for row, measured in figures.items():
        table.add_row(row, *(cell(measured[metric]) for metric in ("found", "iou")))
    Console().print(table)
