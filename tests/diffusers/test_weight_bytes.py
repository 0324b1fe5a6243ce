"""What a loaded backend says it holds is what is freed when it is closed."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from threedis_core import Engine, load_plugins
from threedis_core.testing import sample_depth, sample_layout
from threedis_diffusers.weight_bytes import weight_bytes
from threedis_pocket import WEIGHTS

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def bytes_in(*folders: Path) -> int:
    return sum(file.stat().st_size for one in folders for file in one.rglob("*.safetensors"))


def test_shared_weights_count_once_and_those_on_meta_not_at_all() -> None:
    layer = nn.Linear(4, 4, bias=False)
    shared = nn.ModuleList([layer, layer])
    shared.register_buffer("view", layer.weight.detach()[:2])
    assert weight_bytes({"a": 1}) == 0
    assert weight_bytes(shared) == 4 * 4 * 4
    with torch.device("meta"):
        assert weight_bytes(nn.Linear(4, 4)) == 0


@pytest.mark.parametrize("name", ["pocket-sd15", "pocket-flux"])
def test_a_renderer_says_what_its_model_holds(name) -> None:
    backend = load_plugins().renderer(name)
    assert backend.memory() == 0
    backend.load()
    found = bytes_in(WEIGHTS / name)
    # The files hold names beside the numbers, and may hold half-precision ones.
    assert 0.9 * found < backend.memory() < 2.1 * found
    backend.close()
    assert backend.memory() == 0


def test_a_depth_model_counts_its_adapter() -> None:
    model = load_plugins().depth_model("pocket-depth")
    whole = weight_bytes(model.load())
    adapter = weight_bytes(model.load().adapter)
    assert 0 < adapter < whole
    assert model.memory() == whole


def test_a_model_that_leaves_the_engine_leaves_the_memory() -> None:
    with Engine() as probe:
        probe.render(LAYOUT, depth=DEPTH, renderers={"pocket-sd15": {"steps": 1}})
        size = probe.memory
    assert size > 0
    with Engine(memory_limit=size + 1) as engine:
        engine.render(LAYOUT, depth=DEPTH, renderers={"pocket-sd15": {"steps": 1}})
        (kept,) = [one.backend for one in engine._shelf._kept if one.bytes]
        unet = weakref.ref(kept.load().pipeline.unet)
        del kept
        engine.render(LAYOUT, depth=DEPTH, renderers={"pocket-sd21": {"steps": 1}})
        gc.collect()
        assert unet() is None
        assert [model.name for model in engine.models if model.bytes] == ["renderer 'pocket-sd21'"]
        assert engine.memory <= size + 1
