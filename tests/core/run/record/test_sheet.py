"""What the sheet of a run says of it."""

from __future__ import annotations

import pytest

from threedis_core import render
from threedis_core.run.record.sheet import SheetOfRun
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"depth": sample_depth(LAYOUT, 64, 64)}, "as given"),
        ({"depth_model": "fake-depth", "depth_seed": 3}, "fake-depth  ·  seed 3"),
        (
            {"depth_model": "fake-depth", "depth_seed": 3, "depth_tries": 4},
            "fake-depth  ·  seed 3, best of 4",
        ),
    ],
)
def test_the_depth_map_is_told_by_what_was_asked(registry, settings, note) -> None:
    asked = {"renderers": ["fake"], "depth_cache": False, "registry": registry, **settings}
    depth = SheetOfRun.of(render(LAYOUT, **asked)).inputs()[1]
    assert (depth.caption, depth.note) == ("depth map", note)
