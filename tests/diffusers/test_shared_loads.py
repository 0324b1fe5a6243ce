"""One load serves renderers that differ in options of the work, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from threedis_core import Engine, load_plugins, render
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "pocket-sd15": [{}, {"control_steps": 0}, {"alpha": 3.0, "guidance": 1.0, "low_pass": True}],
    "pocket-sdxl": [{}, {"control_steps": 0}, {"crop": [8, 8]}],
    "pocket-flux": [{}, {"texts_steps": 0}, {"i2i": False, "attention": "segments"}],
}


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return load_plugins()


class Loads:
    """A progress that counts how often a model begins to load."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.count += stage.endswith("loading") and done == 0


def made(renderers: dict[str, Any], loads: Loads, **how: Any) -> list[np.ndarray]:
    asked = {name: {**options, "device": "cpu"} for name, options in renderers.items()}
    how |= {"steps": 2, "width": 64, "height": 64, "progress": loads}
    run = render(LAYOUT, depth=DEPTH, renderers=asked, **how)
    return [np.asarray(image.image) for image in run.images]


@pytest.mark.parametrize("name", FAMILIES)
def test_renderers_that_differ_in_the_work_alone_share_a_load_and_change_nothing(
    registry: PluginRegistry, name: str
) -> None:
    labelled = {f"{name}@{index}": options for index, options in enumerate(FAMILIES[name])}
    if name == "pocket-sd15":  # which says guidance itself; a run may not say it too
        labelled[f"{name}@0"] = {"guidance": 3.0}
    separate, shared, kept = Loads(), Loads(), Loads()
    expected = [made({one: labelled[one]}, separate, registry=registry)[0] for one in labelled]
    together = made(labelled, shared, registry=registry)
    with Engine(registry=registry) as engine:
        turns = [made({one: labelled[one]}, kept, engine=engine)[0] for one in labelled]
    assert (separate.count, shared.count, kept.count) == (3, 1, 1)
    for right, one, other in zip(expected, together, turns, strict=True):
        assert np.array_equal(right, one)
        assert np.array_equal(right, other)
    assert not np.array_equal(expected[0], expected[1])


def test_what_is_loaded_otherwise_is_loaded_again(registry: PluginRegistry) -> None:
    loads = Loads()
    made({"pocket-sd15": {}, "pocket-sd15@plain": {"scheduler": "ddim"}}, loads, registry=registry)
    assert loads.count == 2


def test_the_options_that_are_of_the_work_are_there(registry: PluginRegistry) -> None:
    for name in ("sd15", "sd21", "sdxl", "flux"):
        options = type(registry.renderer(name).options)
        assert options.of_the_work <= options.model_fields.keys()
        assert not {"model", "dtype", "device", "offload", "loras"} & options.of_the_work
