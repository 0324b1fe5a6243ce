"""Small layouts, depth maps and requests to test backends with."""

from __future__ import annotations

import numpy as np

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule

COLOURS = ("red", "blue", "green", "yellow", "white", "purple", "orange", "cyan")
SHAPES = ("sphere", "cube", "cylinder", "cone")


def sample_layout(instances: int = 2) -> Layout:
    """Coloured solids side by side, in rows of four; at most 32."""
    rows = max(1, -(-instances // 4))
    return Layout(
        prompt="solids on a floor",
        instances=tuple(_solid(index, rows) for index in range(instances)),
    )


def _solid(index: int, rows: int) -> Instance:
    column, row = index % 4, index // 4
    colour, shape = COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)]
    x0, y0 = 0.02 + 0.25 * column, (row + 0.1) / rows
    return Instance(
        prompt=f"a {colour} {shape}",
        label=shape,
        box=Box.from_xyxy((x0, y0, x0 + 0.21, y0 + 0.8 / rows)),
    )


def sample_depth(layout: Layout, width: int, height: int) -> DepthMap:
    """A floor that comes nearer downwards, and each box a plane in front of it."""
    floor = np.linspace(0.1, 0.6, height, dtype=np.float32)[:, None]
    values = np.repeat(floor, width, axis=1)
    for index, box in enumerate(instance.box for instance in layout.instances):
        rows = slice(int(box.y0 * height), int(box.y1 * height))
        columns = slice(int(box.x0 * width), int(box.x1 * width))
        values[rows, columns] = 0.7 + 0.3 * (index + 1) / len(layout.instances)
    return DepthMap(values)


def sample_request(
    instances: int = 2,
    seed: int = 0,
    size: tuple[int, int] = (64, 64),
    control: ControlSchedule | None = None,
    steps: int | None = None,
) -> RenderRequest:
    """A request for a sample layout at ``size`` (width, height)."""
    width, height = size
    layout = sample_layout(instances)
    return RenderRequest(
        layout=layout,
        depth=sample_depth(layout, width, height),
        regions=Regions.from_layout(layout, width, height),
        seed=seed,
        width=width,
        height=height,
        steps=steps,
        control=control,
    )
