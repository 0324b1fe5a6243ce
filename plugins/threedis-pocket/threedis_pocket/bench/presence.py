"""The benchmark of the core's look into depth maps and pictures: is what is missing said?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import ndimage, stats

from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.presence.measure import SEEN, presence_scores
from threedis_core.presence.pictures import Places
from threedis_core.presence.words import rank
from threedis_core.run.stages.depth import try_seeds
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_pocket.bench.depth_maps import FOUND, placed
from threedis_pocket.bench.measure import Figure, instance_layouts, mean_figure
from threedis_pocket.bench.tables import cell
from threedis_pocket.layouts import layout_scene
from threedis_pocket.world import draw

Values = NDArray[np.float64]
SIZE = (128, 128)
"""(width, height) in pixels of layouts that name no size."""
VISIBLE = 0.5
"""An instance that was left out counts if at least this share of it would be seen."""


def _estimated(depth: Values) -> Values:
    """As an estimator's maps are: blurred, noisy, bent, and stretched to its range."""
    noise = np.random.default_rng(0).normal(0, 0.03, depth.shape)
    soft = ndimage.gaussian_filter(depth, 1.2) + ndimage.gaussian_filter(noise, 1.0)
    bent = np.clip(soft, 0, None) ** 0.8
    return bent / bent.max()


CHANGES: dict[str, Callable[[Values], Values]] = {
    "exact": lambda depth: depth,
    "blurred": lambda depth: ndimage.gaussian_filter(depth, 1.5),
    "of 256 levels": lambda depth: np.round(depth * 255) / 255,
    "like an estimate": _estimated,
}


@dataclass(frozen=True)
class Drawn:
    """A layout with its exact depth, and with that of the layout less one instance each.

    Args:
        layout: The layout.
        depth: Shape (H, W).
        visible: The share of each instance that is seen.
        without: For each instance the depth without it, each of shape (H, W).
    """

    layout: Layout
    depth: Values
    visible: Sequence[float]
    without: Sequence[Values]


def draw_without(layout: Layout) -> Drawn:
    """Draw a pocket layout, and again without each of its instances."""
    depth, ids = _exact(layout)
    visible: list[float] = []
    without: list[Values] = []
    for number, instance in enumerate(layout.instances):
        alone = _exact(layout.model_copy(update={"instances": (instance,)}))[1]
        visible.append(float((ids == number).sum()) / max(1, int((alone >= 0).sum())))
        rest = layout.instances[:number] + layout.instances[number + 1 :]
        without.append(_exact(layout.model_copy(update={"instances": rest}))[0])
    return Drawn(layout, depth, visible, without)


def bench_exact(layouts: Sequence[Layout]) -> dict[str, dict[str, Figure]]:
    """Warn of what was drawn, and of what was left out, on exact depth and on changes of it.

    Returns:
        {change: {"false": share of drawn instances with a warning, "said": share of left out ones,
        at least half visible, with a warning, "auc": area under the ROC curve}}, JSON-ready.
    """
    drawn = [draw_without(layout) for layout in layouts]
    return {name: _exact_row(drawn, change) for name, change in CHANGES.items()}


def bench_model(
    registry: PluginRegistry,
    name: str,
    layouts: Sequence[Layout],
    tries: Sequence[int] = (1, 2, 4),
    progress: Progress = silent,
) -> dict[str, dict[str, Figure]]:
    """Warn of what a depth model has lost, with so many tries.

    The truth is silhouettes, which are found without knowing the layout and see no borders where
    instances touch: compare with the row "exact depth".

    Returns:
        {row: {"warned", "found": silhouettes' IoU >= 0.5, "unsaid": not found and no warning,
        "needless": found but a warning}}, shares of all instances, JSON-ready.
    """
    seeds = try_seeds(0, max(tries))
    requests = [DepthRequest(one, seed, *_size(one)) for one in layouts for seed in seeds]
    with closing(registry.depth_model(name)) as model:
        maps = model.generate(requests, progress)
    each = [maps[start : start + len(seeds)] for start in range(0, len(maps), len(seeds))]
    scored = [
        [(presence_scores(layout, depth), depth) for depth in some]
        for layout, some in zip(layouts, each, strict=True)
    ]
    rows: dict[str, dict[str, Figure]] = {}
    for count in tries:
        best = [max(some[:count], key=lambda one: rank(one[0])) for some in scored]
        rows[f"{name}, {count} tries" if count > 1 else f"{name}, 1 try"] = _model_row(
            layouts, best
        )
    exact = [DepthMap(_exact(layout)[0]) for layout in layouts]
    true = [(presence_scores(a, b), b) for a, b in zip(layouts, exact, strict=True)]
    return {**rows, "exact depth": _model_row(layouts, true)}


def bench_pictures(layouts: Sequence[Layout]) -> dict[str, dict[str, Figure]]:
    """Warn of what exact pictures show, and of what was left out of them, not of the depth map.

    Returns:
        {"exact pictures": {"false": share of drawn instances with a warning, "said": share of left
        out ones, at least half visible, with a warning}}, JSON-ready.
    """
    false: list[tuple[bool, int]] = []
    said: list[tuple[bool, int]] = []
    for unit, layout in enumerate(layouts):
        drawn, places = draw_without(layout), Places(layout, DepthMap(_exact(layout)[0]))
        false += [(one, unit) for one in _named(places, _picture(layout), layout)]
        for number in np.flatnonzero(np.array(drawn.visible) >= VISIBLE).tolist():
            rest = layout.instances[:number] + layout.instances[number + 1 :]
            without = _picture(layout.model_copy(update={"instances": rest}))
            said.append((_named(places, without, layout)[number], unit))
    return {"exact pictures": {"false": _share(false), "said": _share(said)}}


def _share(told: Sequence[tuple[bool, int]]) -> Figure:
    """The share of instances, each with the number of its layout."""
    return mean_figure([one for one, _ in told], [unit for _, unit in told])


def print_presence(figures: Mapping[str, Mapping[str, Figure]]) -> None:
    """Print value, 95 % interval and number of instances of each row."""
    table = Table("depth", *next(iter(figures.values())))
    for row, measured in figures.items():
        table.add_row(row, *(cell(figure) for figure in measured.values()))
    Console(width=140).print(table)


def _size(layout: Layout) -> tuple[int, int]:
    return (layout.width or SIZE[0], layout.height or SIZE[1])


def _exact(layout: Layout) -> tuple[Values, NDArray[np.int64]]:
    """Exact depth, and the visible instance of each pixel, -1 for none."""
    width, height = _size(layout)
    drawing = draw(layout_scene(layout), height, width, supersample=1)
    return drawing.depth[0].double().numpy(), drawing.ids[0].numpy()


def _picture(layout: Layout) -> Image.Image:
    width, height = _size(layout)
    rgb = draw(layout_scene(layout), height, width).rgb[0].permute(1, 2, 0)
    return Image.fromarray((rgb * 255).round().byte().numpy())


def _named(places: Places, picture: Image.Image, layout: Layout) -> list[bool]:
    """For each instance whether a warning about the picture names it."""
    lines = places.lost(picture)
    return [
        any(f"instances[{number}]" in line for line in lines)
        for number in range(len(layout.instances))
    ]


def _exact_row(drawn: Sequence[Drawn], change: Callable[[Values], Values]) -> dict[str, Figure]:
    there: list[float] = []
    gone: list[float] = []
    gone_from: list[int] = []
    for place, one in enumerate(drawn):
        there += _scores(one.layout, change(one.depth))
        for number, depth in enumerate(one.without):
            if one.visible[number] >= VISIBLE:
                gone.append(list(_scores(one.layout, change(depth)))[number])
                gone_from.append(place)
    known = [[score for score in some if not np.isnan(score)] for some in (there, gone)]
    order = stats.mannwhitneyu(*known).statistic / (len(known[0]) * len(known[1]))
    return {
        "false": mean_figure(
            [score < SEEN for score in there], instance_layouts([one.layout for one in drawn])
        ),
        "said": mean_figure([score < SEEN for score in gone], gone_from),
        "auc": {"value": float(order), "low": None, "high": None, "n": len(gone)},
    }


def _scores(layout: Layout, depth: Values) -> Iterator[float]:
    """The scores as numbers: what cannot be told is not a number."""
    for score in presence_scores(layout, DepthMap(np.clip(depth, 0, 1))):
        yield float("nan") if score is None else score


def _model_row(
    layouts: Sequence[Layout], best: Sequence[tuple[tuple[float | None, ...], DepthMap]]
) -> dict[str, Figure]:
    warned = [score is not None and score < SEEN for scores, _ in best for score in scores]
    found = [iou >= FOUND for iou in placed(layouts, [depth for _, depth in best])]
    both = list(zip(warned, found, strict=True))
    places = instance_layouts(layouts)
    return {
        "warned": mean_figure(warned, places),
        "found": mean_figure(found, places),
        "unsaid": mean_figure([not one and not other for one, other in both], places),
        "needless": mean_figure([one and other for one, other in both], places),
    }
