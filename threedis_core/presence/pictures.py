"""Look for every instance in a finished picture, by the colour that its prompt gives it.

A renderer may lose what the depth map has: a neighbour's colour flows over it, or the floor's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core.presence.hues import asked_hue, hue_shares
from threedis_core.presence.measure import LONGEST
from threedis_core.refiners.depth_edges import DepthEdges, DepthEdgesOptions
from threedis_core.values.box_rounding import box_pixels
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown

FEWEST_PIXELS = 24
"""A place of fewer pixels is not judged."""
ABSENT = 0.15
"""A colour that covers no more than this share of its instance's place is not there."""
COVERED = 0.4
"""Nor is one that covers less than this, where the colour of another instance covers more."""
ADVICE = "try another seed or --depth-seed, or a larger box with less overlap"

Shares = Mapping[str, float]


class Places:
    """Where the instances of a layout should be seen, by its depth map.

    Args:
        layout: What is where.
        depth: Its depth map; edges in it tell an instance from the others in its box.
    """

    def __init__(self, layout: Layout, depth: DepthMap) -> None:
        self._layout = layout
        self._hues = [asked_hue(instance.prompt) for instance in layout.instances]
        self._places: list[NDArray[np.bool_]] = []
        if any(self._hues):
            self._places = _places(layout, depth)

    def lost(self, picture: Image.Image) -> tuple[str, ...]:
        """A line for every instance whose colour is not seen in its place, with what to do.

        Only instances are judged whose prompts give them one colour that a hue tells: see
        ``asked_hue``.

        Args:
            picture: RGB, of any size; the whole scene.
        """
        if not self._places:
            return ()
        height, width = self._places[0].shape
        small = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BOX))
        return tuple(self._lines(small))

    def _lines(self, pixels: NDArray[np.uint8]) -> Iterator[str]:
        for number, (place, hue) in enumerate(zip(self._places, self._hues, strict=True)):
            if hue is None or place.sum() < FEWEST_PIXELS:
                continue
            shares = hue_shares(pixels[place])
            rival = self._rival(number, shares)
            if shares[hue] <= ABSENT or (rival is not None and shares[hue] < COVERED):
                prompt = shown(self._layout.instances[number].prompt)
                yield (
                    f"instances[{number}] ({prompt}) is likely missing or of another colour: "
                    f"{_seen(shares, hue, rival)} of its place; {ADVICE}"
                )

    def _rival(self, number: int, shares: Shares) -> str | None:
        """The colour of another instance that covers more of the place than its own."""
        own = self._hues[number]
        others = {hue for hue in self._hues if hue is not None and hue != own}
        most = max(others, key=lambda hue: shares[hue], default=None)
        return most if most and own and shares[most] > shares[own] else None


def _places(layout: Layout, depth: DepthMap) -> list[NDArray[np.bool_]]:
    """The pixels of each instance, as ``depth-edges`` sees them, in a small picture."""
    scale = min(1.0, LONGEST / max(depth.width, depth.height))
    size = max(1, round(depth.width * scale)), max(1, round(depth.height * scale))
    bare = [instance.model_copy(update={"mask": None}) for instance in layout.instances]
    small = layout.model_copy(update={"instances": tuple(bare)})
    regions = DepthEdges(DepthEdgesOptions()).refine(small, depth.resize(*size))
    places: list[NDArray[np.bool_]] = []
    for box, mask in zip(regions.boxes, regions.masks, strict=True):
        place = np.zeros((regions.height, regions.width), np.bool_) if mask is None else mask
        if mask is None:
            place[box_pixels(box, regions.height, regions.width)] = True
        places.append(place)
    return places


def _seen(shares: Shares, hue: str, rival: str | None) -> str:
    """ "12 % red and 70 % blue"."""
    told = f"{hue} covers {shares[hue]:.0%}"
    return told if rival is None else f"{told} and {rival} {shares[rival]:.0%}"
