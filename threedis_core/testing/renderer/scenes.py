"""Requests that tell a wrong backend from a right one: four quarters, a prompt for each.

A quarter turned over or given to a neighbour is another instance's, so that it is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.samples import sample_depth
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout
from threedis_core.values.regions import Regions

QUARTERS = (
    (0.04, 0.04, 0.48, 0.48),
    (0.52, 0.04, 0.96, 0.48),
    (0.04, 0.52, 0.48, 0.96),
    (0.52, 0.52, 0.96, 0.96),
)
"""Boxes (x0, y0, x1, y1), as shares of the picture."""
PROMPTS = ("a red sphere", "a blue cube", "a green cylinder", "a yellow cone")
OTHERS = (
    "many purple paper lanterns over deep snow",
    "an orange violin without strings",
    "a tall white lighthouse, far away",
    "an old fisherman in a cyan coat",
)
"""What each instance is asked to be instead."""
PROMPT = "solids on a floor"
OTHER_PROMPT = "a crowd at night in thick olive smoke"
NEGATIVE = "blurry brown sketch of a crowded harbour"


def scene(
    size: tuple[int, int],
    prompts: Sequence[str] = PROMPTS,
    places: Sequence[int] | None = None,
    prompt: str = PROMPT,
    negative_prompt: str = "",
    depth: DepthMap | None = None,
    regions: Regions | None = None,
    seed: int = 0,
    **changes: Any,
) -> RenderRequest:
    """A request of instances in quarters of the picture.

    Args:
        size: (width, height) in pixels.
        prompts: One per instance.
        places: The quarter of each instance; None: the first ones, in order.
        prompt: The global prompt.
        negative_prompt: The layout's.
        depth: Another depth map than four planes in front of a floor.
        regions: Others than the layout's boxes.
        seed: The request's.
        **changes: Other fields of the request.
    """
    width, height = size
    layout = Layout(
        prompt=prompt,
        negative_prompt=negative_prompt,
        instances=tuple(
            Instance(prompt=text, box=box(place))
            for text, place in zip(prompts, places or range(len(prompts)), strict=True)
        ),
    )
    return RenderRequest(
        layout=layout,
        depth=depth or planes(width, height),
        regions=regions or Regions.from_layout(layout, width, height),
        seed=seed,
        width=width,
        height=height,
        **changes,
    )


def box(place: int) -> Box:
    """A quarter's box."""
    return Box.from_xyxy(QUARTERS[place])


def planes(width: int, height: int) -> DepthMap:
    """A plane in each quarter, in front of a floor."""
    solids = tuple(Instance(prompt=text, box=box(place)) for place, text in enumerate(PROMPTS))
    return sample_depth(Layout(prompt=PROMPT, instances=solids), width, height)


def turned(depth: DepthMap) -> DepthMap:
    """What is near is far, and the other way round."""
    return DepthMap(1 - depth.values)


def moved(size: tuple[int, int], places: Sequence[int]) -> Regions:
    """Regions that are boxes, each in the quarter that ``places`` says."""
    boxes = tuple(map(box, places))
    return Regions(boxes, (None,) * len(boxes), size[1], size[0])


def masked(size: tuple[int, int], places: Sequence[int]) -> Regions:
    """The same as masks, and every box the whole picture."""
    pixels = moved(size, places).pixel_masks(size[1], size[0]).astype(np.bool_)
    whole = (Box.from_xyxy((0, 0, 1, 1)),) * len(places)
    return Regions(whole, tuple(pixels), size[1], size[0])
