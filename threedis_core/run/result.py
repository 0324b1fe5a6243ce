"""What a run made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from threedis_core.errors import OptionError
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown
from threedis_core.values.regions import Regions

Presence = tuple[float | None, ...]
"""For each instance how much of it is in its box, 0 to 1; None: it cannot be told."""


@dataclass(frozen=True, eq=False)
class DepthTry:
    """One of the depth maps that were made for a run.

    Args:
        seed: The depth model's seed.
        depth: The map, rounded to the 16 bits of its file.
        presence: What is where the layout wants it.
    """

    seed: int
    depth: DepthMap
    presence: Presence


@dataclass(frozen=True, eq=False)
class StageDepth:
    """The depth map of a run and where it comes from.

    Args:
        depth: The map, rounded to the 16 bits of its file.
        cached: True if it was found in the cache, False if it was made now; None: neither, it was
            given.
        warnings: One line each.
        presence: What is where the layout wants it; see ``presence_scores``.
        tries: All the maps that were made, in order of their seeds; none if it was given.
        seed: The seed of ``depth`` among these; None if it was given.
    """

    depth: DepthMap
    cached: bool | None = None
    warnings: tuple[str, ...] = ()
    presence: Presence = ()
    tries: tuple[DepthTry, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class RunImage:
    """One picture of a run.

    Args:
        renderer: The renderer's name.
        seed: The picture's seed.
        image: RGB picture.
        provenance: How it came to be, JSON-ready.
        warnings: One line each.
        file: Where it was written; None if nothing was.
        control: "on" if the instances' controls were as the options say, "none" if all were off.
    """

    renderer: str
    seed: int
    image: Image.Image
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...]
    file: Path | None = None
    control: str = "on"


@dataclass(frozen=True, eq=False)
class Preview:
    """How a picture in the making looks by now.

    Args:
        renderer: The renderer's name.
        seed: The picture's seed.
        image: RGB, smaller than the picture.
    """

    renderer: str
    seed: int
    image: Image.Image


@dataclass(frozen=True)
class Previews:
    """Who looks at pictures in the making.

    Args:
        show: Called with each preview, in the thread that renders; what it raises ends the run.
            None: a job keeps them, for somebody to look at.
        every: Steps from preview to preview, 1 or more.

    Raises:
        OptionError: ``show`` is no function, or ``every`` no such number.
    """

    show: Callable[[Preview], None] | None = None
    every: int = 5

    def __post_init__(self) -> None:
        if self.show is not None and not callable(self.show):
            raise OptionError(
                f"show is {shown(self.show)}; expected a function that takes a preview",
                code="wrong-value",
                path="previews.show",
            )
        every = cast("object", self.every)
        if not isinstance(every, int | np.integer) or isinstance(every, bool) or every < 1:
            raise OptionError(
                f"every is {shown(every)}; expected a number of steps, 1 or more",
                code="wrong-value",
                path="previews.every",
            )


@dataclass(frozen=True, eq=False)
class Run:
    """What a run made.

    Args:
        layout: The layout.
        depth: The depth map every picture was rendered from, exactly as in ``depth.png``.
        regions: The instances' regions.
        images: The pictures, renderer by renderer, seeds in the order asked for.
        warnings: One line each, those of the pictures included.
        record: What ``run.json`` holds.
        folder: The run's folder; None if nothing was written.
        presence: For each instance how much of it stands out in its box of the depth map, 0 to 1;
            None where it cannot be told. What is missing is among the warnings.
        sheet: Where the picture is that shows all of it; None if nothing was written.
        kept: How many of the pictures were there already, from an earlier run of the same plan.
    """

    layout: Layout
    depth: DepthMap
    regions: Regions
    images: tuple[RunImage, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]
    folder: Path | None = None
    presence: Presence = ()
    sheet: Path | None = None
    kept: int = 0
