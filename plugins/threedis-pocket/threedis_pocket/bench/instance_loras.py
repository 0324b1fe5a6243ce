"""Measuring LoRAs of instances: one of two like objects takes the LoRA's colour, nothing else does.

In each layout two objects share a shape, none is gold, and one of the two names a LoRA under which
everything is gold (``training/gold.py``). The same picture is made without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.layout import InstanceLoRA, Layout
from threedis_pocket.bench.detector import Detector
from threedis_pocket.bench.measure import Judgement, judge, share_figure
from threedis_pocket.bench.pictures import SPLIT, scene_request
from threedis_pocket.layouts import sample_layouts
from threedis_pocket.training.gold import COLOUR
from threedis_pocket.training.shipped import WEIGHTS

NAME = "gold"
SHIPPED = {
    "pocket-sd15": WEIGHTS / "loras" / "gold-sd15.safetensors",
}
"""The LoRA of each preset that has one."""
SAMPLED = 16
"""Layouts that are looked at for each that is taken."""


def like_pairs(count: int) -> list[tuple[Layout, int]]:
    """Held-out layouts of which two objects share a shape and none is gold, and one of the two."""
    found: list[tuple[Layout, int]] = []
    for layout in sample_layouts(SPLIT, SAMPLED * count):
        labels = Counter(one.label for one in layout.instances)
        like = [i for i, one in enumerate(layout.instances) if labels[one.label] > 1]
        if like and not any(COLOUR in one.prompt for one in layout.instances):
            found.append((layout, like[len(found) % len(like)]))
    return found[:count]


def with_lora(layout: Layout, number: int) -> Layout:
    """The layout whose instance ``number`` names the LoRA."""
    return _changed(layout, number, loras=(InstanceLoRA(name=NAME),))


def bench_instance_loras(
    registry: PluginRegistry,
    loras: dict[str, Path],
    layouts: int = 96,
    seeds: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure the LoRA of each preset.

    Args:
        registry: The plugins.
        loras: The LoRA's file, by preset.
        layouts: How many held-out layouts.
        seeds: Pictures of each, with seeds 0, 1, ...
        progress: Told about every picture.
    Returns:
        {"presets": {name: {"gold", "others", "others without"}}, "settings"}, JSON-ready.
        gold: the instance has the LoRA's colour; others: the others' colour is right.
    Raises:
        OptionError: There are not so many layouts.
    """
    pairs = like_pairs(layouts)
    if len(pairs) < layouts:
        raise OptionError(f"there are {len(pairs)} such layouts; ask for as many at most")
    table: dict[str, Any] = {}
    for name, path in loras.items():
        with closing(registry.renderer(name, {"instance_loras": {NAME: str(path)}})) as backend:
            table[name] = _measure(backend, pairs, seeds, progress)
    return {"presets": table, "settings": {"layouts": layouts, "seeds": seeds, "split": SPLIT}}


def _measure(
    backend: RenderBackend, pairs: Sequence[tuple[Layout, int]], seeds: int, progress: Progress
) -> dict[str, Any]:
    taken: list[bool] = []
    others: list[bool] = []
    without: list[bool] = []
    for done, (layout, number) in enumerate(pairs, 1):
        gold = _changed(layout, number, prompt=f"a {COLOUR} {layout.instances[number].label}")
        for seed in range(seeds):
            plain = _judged(backend, layout, layout, seed)
            mine = _judged(backend, with_lora(layout, number), gold, seed)
            taken.append(mine[number].colour)
            others += [one.colour for i, one in enumerate(mine) if i != number]
            without += [one.colour for i, one in enumerate(plain) if i != number]
        progress("layouts", done, len(pairs))
    return {
        "gold": share_figure(taken),
        "others": share_figure(others),
        "others without": share_figure(without),
    }


def _judged(
    backend: RenderBackend, drawn: Layout, expected: Layout, seed: int
) -> Sequence[Judgement]:
    """Judge a picture of the layout ``drawn`` by what ``expected`` says of its instances."""
    picture = backend.render([scene_request(drawn, seed)])[0].image
    return judge(expected, np.asarray(picture), Detector())


def _changed(layout: Layout, number: int, **changes: Any) -> Layout:
    instances = list(layout.instances)
    instances[number] = instances[number].model_copy(update=changes)
    return layout.model_copy(update={"instances": tuple(instances)})
