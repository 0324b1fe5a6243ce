"""What of a run has no effect, or an odd one: said before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from threedis_core.plugin.interfaces import Capabilities
from threedis_core.run.config import RunConfig
from threedis_core.run.sizes import Size
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

ASPECT_TOLERANCE = 0.02
FLAT = 1 / 255
"""Of all of depth: one level of an 8-bit picture, which says nothing of what is where."""


def without_effect(
    config: RunConfig,
    layout: Layout,
    able: Mapping[str, Capabilities],
    sizes: Mapping[str, Size],
    depth_size: Size,
    depth: DepthMap | None = None,
) -> tuple[str, ...]:
    """What of a run has no effect or an odd one, in a line each.

    Args:
        config: What is asked.
        layout: What is where.
        able: What each renderer can do.
        sizes: The size (width, height) of each renderer's pictures.
        depth_size: (width, height) of the depth map.
        depth: The depth map that was given; None: one will be made.
    """
    found: list[str] = []
    if depth is not None:
        found += _flat(depth)
    for name, size in sizes.items():
        if not able[name].masks and any(instance.mask for instance in layout.instances):
            found.append(f"renderer '{name}' does not follow masks; it uses the boxes")
        if layout.negative_prompt and not able[name].negative_prompt:
            found.append(f"renderer '{name}' has no negative prompt; the layout's has no effect")
        if config.control != "on" and not able[name].controls:
            found.append(
                f"renderer '{name}' has no controls; control={config.control} changes nothing"
            )
        stretch = (size[0] / size[1]) / (depth_size[0] / depth_size[1])
        if abs(stretch - 1) > ASPECT_TOLERANCE:
            found.append(
                f"the depth map is {depth_size[0]} x {depth_size[1]}, the picture of '{name}' "
                f"{size[0]} x {size[1]}: the depth is stretched by {stretch:.2f}"
            )
    return tuple(found)


def _flat(depth: DepthMap) -> list[str]:
    least, greatest = float(depth.values.min()), float(depth.values.max())
    if greatest - least > FLAT * 1.001:
        return []
    return [
        f"the depth map has the same depth everywhere ({least:.3g}), so it shows nothing of the "
        "layout; give another one with --depth, or leave it out and let a depth model make one"
    ]
