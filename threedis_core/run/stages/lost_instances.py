"""What finished pictures have lost of their layouts."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.presence.pictures import Places
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


class LostInstances:
    """Looks for the instances of pictures; where they should be, once for each depth map."""

    def __init__(self) -> None:
        self._known: list[tuple[Layout, DepthMap, Places]] = []

    def lines(self, name: str, request: RenderRequest, picture: Image.Image) -> Iterator[str]:
        """A line for each instance that a picture has lost; none where the controls are off.

        Args:
            name: The renderer's, for whoever reads the lines of several.
            request: What was asked.
            picture: What came out.
        """
        if request.control is None:
            for line in self._places(request).lost(picture):
                yield f"{name}, seed {request.seed}: {line}"

    def _places(self, request: RenderRequest) -> Places:
        for layout, depth, places in self._known:
            if layout is request.layout and depth is request.depth:
                return places
        places = Places(request.layout, request.depth)
        self._known.append((request.layout, request.depth, places))
        return places
