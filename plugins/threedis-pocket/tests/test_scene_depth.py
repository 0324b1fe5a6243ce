from __future__ import annotations

from typing import Any

import numpy as np

from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.testing import DepthModelConformance
from threedis_core.values.layout import Box, Instance, Layout
from threedis_pocket.layouts import layout_scene, sample_layouts
from threedis_pocket.scene_depth import PocketScene, PocketSceneOptions
from threedis_pocket.world import draw


class TestPocketScene(DepthModelConformance):
    plugin_module = "threedis_pocket"

    def make_model(self, **options: Any) -> PocketScene:
        return PocketScene(PocketSceneOptions(**options))

    def unfit_layout(self) -> Layout:
        cat = Instance(prompt="a cat", box=Box.from_xyxy((0.1, 0.1, 0.5, 0.5)))
        return Layout(prompt="a cat", instances=(cat,))


def test_the_depth_is_the_scenes_own() -> None:
    layout = sample_layouts("validation", 1)[0]
    depth = PocketScene(PocketSceneOptions()).generate([DepthRequest(layout, 0, 128, 128)])[0]
    assert np.array_equal(depth.values, draw(layout_scene(layout)).depth[0].numpy())


def test_a_layout_without_instances_is_an_empty_room() -> None:
    empty = Layout(prompt="an empty room")
    depth = PocketScene(PocketSceneOptions()).generate([DepthRequest(empty, 0, 64, 64)])[0]
    assert (depth.values == depth.values[:, :1]).all()
    assert depth.values[-1, 0] > depth.values[0, 0]
