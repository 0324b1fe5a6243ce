"""The depth model ``pocket-scene``: the exact depth of a layout of pocket shapes."""

from __future__ import annotations

from collections.abc import Sequence

from threedis_core.plugin.interfaces import BackendOptions, DepthModel, DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_pocket.depth_texts import depth_layout
from threedis_pocket.layouts import layout_scene
from threedis_pocket.world import draw


class PocketSceneOptions(BackendOptions):
    """Nothing to choose: geometry leaves no room."""


class PocketScene(DepthModel):
    """Draw the depth of spheres, cubes, cylinders and cones; the seed changes nothing.

    An object stands on the floor where its box ends, so a lower box is nearer.
    """

    Options = PocketSceneOptions

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Draw one depth map per request.

        Raises:
            LayoutError: A label names no pocket shape.
        """
        for request in requests:
            self.check(request)
        scenes = [layout_scene(request.layout) for request in requests]
        maps = []
        for done, (scene, request) in enumerate(zip(scenes, requests, strict=True), start=1):
            drawing = draw(scene, request.height, request.width, supersample=1)
            maps.append(DepthMap(drawing.depth[0].numpy()))
            progress("depth", done, len(requests))
        return maps

    def check(self, request: DepthRequest) -> None:
        """See that every instance is one shape of the pocket world.

        Raises:
            LayoutError: A label or a prompt names no pocket shape, several, or each another one.
        """
        depth_layout(request.layout)
