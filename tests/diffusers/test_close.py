"""After ``close`` nothing of a model is alive, whatever its hooks have tied it to."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from threedis_core.errors import RenderError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthRequest, RenderRequest
from threedis_core.testing.samples import sample_depth, sample_layout
from threedis_core.values.regions import Regions
from threedis_diffusers.lazy_model import LazyModel

RENDERERS = ("pocket-sd15", "pocket-sd21", "pocket-sdxl", "pocket-flux")


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Nothing is collected by chance."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def offloading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offload from the CPU to the CPU: the hooks are the same."""
    for module in ("threedis_sd.backend", "threedis_diffusers.joint.model"):
        monkeypatch.setattr(f"{module}.resolve_device", lambda _: torch.device("cpu"))
    monkeypatch.setattr("threedis_diffusers.memory.placing.SHARED_MEMORY", ())
    monkeypatch.setattr("threedis_diffusers.memory.placing.free_on", lambda _: 10**9)


def request(renderer: Any) -> RenderRequest:
    layout, (width, height) = sample_layout(2), renderer.capabilities.default_size
    regions = Regions.from_layout(layout, width, height)
    return RenderRequest(layout, sample_depth(layout, width, height), regions, 0, width, height)


def watched(loaded: Any) -> dict[str, list[weakref.ref[Any]]]:
    """Weak references to the parts of what was loaded and to all their weights."""
    parts = {name: part for name, part in loaded.pipeline.components.items()}
    return {
        name: [weakref.ref(part), *map(weakref.ref, part.parameters())]
        for name, part in parts.items()
        if isinstance(part, nn.Module)
    }


def alive(references: dict[str, list[weakref.ref[Any]]]) -> list[str]:
    return [name for name, all_of_it in references.items() if any(one() for one in all_of_it)]


@pytest.mark.usefixtures("offloading")
@pytest.mark.parametrize("offload", ["auto", "none", "model", "group", "sequential"])
@pytest.mark.parametrize("name", RENDERERS)
def test_a_closed_renderer_leaves_no_weights(name: str, offload: str) -> None:
    options = {"device": "cpu", "offload": offload, "steps": 1}
    renderer: Any = load_plugins().renderer(name, options)
    loaded = renderer.load()
    if offload != "sequential":  # which accelerate cannot carry out from a CPU to a CPU
        renderer.render([request(renderer)])
    references = watched(loaded)
    assert set(alive(references)) == set(references) != set()
    del loaded
    renderer.close()
    assert alive(references) == []
    assert renderer.memory() == 0


def test_a_closed_depth_model_leaves_no_weights() -> None:
    model: Any = load_plugins().depth_model("pocket-depth", {"device": "cpu", "steps": 1})
    model.generate([DepthRequest(sample_layout(2), 0, 64, 64)])
    references = watched(model.load())
    adapter = weakref.ref(model.load().adapter)
    model.close()
    assert alive(references) == []
    assert adapter() is None


class Halfway(LazyModel[nn.Module]):
    """A model that is loaded, and then does not get where it is to run."""

    name = "halfway"
    seen: weakref.ref[nn.Module]

    def __init__(self) -> None:
        self._loaded = self._loader = None

    def find(self) -> Any:
        return self._load_and_fail

    def _load_and_fail(self) -> nn.Module:
        model = nn.Linear(2, 2)
        model.itself = [model]  # as hooks tie it
        self.seen = weakref.ref(model)
        try:
            raise RuntimeError("no room")
        except RuntimeError as error:
            raise RenderError("no room there") from error


def test_a_load_that_fails_halfway_leaves_no_weights() -> None:
    halfway = Halfway()
    with pytest.raises(RenderError, match="no room there") as caught:
        halfway.load()
    assert halfway.seen() is None
    assert caught.value.__cause__ is not None
