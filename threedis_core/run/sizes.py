"""How large the pictures of a run are: as asked, else as the layout says, else like the depth map.

Sizes are (width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import Capabilities
from threedis_core.plugin.request_checks import nearest_size
from threedis_core.run.config import RunConfig
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

Size = tuple[int, int]


def asked_size(config: RunConfig, layout: Layout) -> Size | None:
    """The size that a run is asked for, else the layout's; None: neither says one.

    Raises:
        OptionError: A width without a height, or a height without a width.
    """
    if (config.width is None) != (config.height is None):
        given, missing = ("height", "width") if config.width is None else ("width", "height")
        raise OptionError(
            f"{given} was given without {missing}; give both or neither",
            code="missing-field",
            path=missing,
            hint="give both or neither",
        )
    width, height = config.width or layout.width, config.height or layout.height
    return None if width is None or height is None else (width, height)


def planned_sizes(
    config: RunConfig, layout: Layout, depth: DepthMap | None, able: Mapping[str, Capabilities]
) -> tuple[Size, dict[str, Size]]:
    """The size of a run's depth map, and of each renderer's pictures.

    Args:
        config: What is asked.
        layout: What is where.
        depth: The depth map, if it is given; else one of the largest picture's size is made.
        able: What each renderer can do, by its name.
    Raises:
        OptionError: A width without a height, or a height without a width.
    """
    asked = asked_size(config, layout)
    defaults = [one.default_size for one in able.values()]
    made = asked or max(defaults, key=lambda size: size[0] * size[1])
    shape = made if depth is None else (depth.width, depth.height)
    return shape, {name: asked or size_like(shape, one) for name, one in able.items()}


def size_like(shape: Size, capabilities: Capabilities) -> Size:
    """A backend's default picture area in the proportions of ``shape`` (width, height).

    Rounded to what the backend can draw; equal proportions give exactly the default size.
    """
    (width, height), (default_width, default_height) = shape, capabilities.default_size
    if width * default_height == height * default_width:
        return capabilities.default_size
    scale = sqrt(default_width * default_height / (width * height))
    if (most := capabilities.max_size) is not None:
        scale = min(scale, most[0] / width, most[1] / height)
    return nearest_size(width * scale, height * scale, capabilities)
