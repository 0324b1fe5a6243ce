"""A transformer that lends its ControlNet layers is offloaded, spread, counted and cast as one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.hooks import HookRegistry
from torch import nn

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.memory import fitting, placing, spreading
from threedis_diffusers.memory.lending import borrowed, parts_of
from threedis_diffusers.memory.sizes import sizes_of_pipeline
from threedis_z_image.backend import ZImageRenderer

from .conftest import CONTROLNETS, LENT

Make = Callable[..., ZImageRenderer]
Request = Callable[..., RenderRequest]
CPU = torch.device("cpu")
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
GROUP, CAST = "group_offloading", "layerwise_casting"


def pictures(renderer: ZImageRenderer, requests: list[RenderRequest]) -> np.ndarray:
    return np.stack([np.asarray(one.image).astype(int) for one in renderer.render(requests)])


@pytest.fixture
def requests(make_request: Request) -> list[RenderRequest]:
    return [
        make_request(("a red cat", LEFT), ("a blue dog", RIGHT)),
        make_request(("a horse", RIGHT), prompt="a field", seed=1),
    ]


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[torch.device], None]:
    """Has renderers run on a device that is taken for an accelerator."""

    def put(device: torch.device) -> None:
        monkeypatch.setattr("threedis_diffusers.joint.model.resolve_device", lambda _: device)
        monkeypatch.setattr(placing, "SHARED_MEMORY", ())
        monkeypatch.setattr(fitting, "SHARED_MEMORY", ("cpu", "lazy"))

    return put


@pytest.mark.parametrize("offload", ["model", "sequential", "group"])
@pytest.mark.parametrize("kind", CONTROLNETS)
def test_offloading_draws_the_same_pictures_and_leaves_nothing(
    kind: str,
    offload: str,
    make_renderer: Make,
    requests: list[RenderRequest],
    on_device: Callable[[torch.device], None],
    lazy_device: torch.device,
) -> None:
    """Groups are fetched from the CPU to the CPU: weights of a lazy device cannot be swapped."""
    whole = pictures(make_renderer(kind), requests)
    on_device(CPU if offload == "group" else lazy_device)
    renderer = make_renderer(kind, offload=offload, dtype="float32")
    for _ in range(2):
        assert np.abs(pictures(renderer, requests) - whole).max() <= 2
    parts = parts_of(renderer.load().pipeline)
    held = [weakref.ref(one) for part in parts.values() for one in (part, *part.parameters())]
    assert len(held) > len(parts) > 0
    del parts
    gc.disable()  # so nothing is collected by chance
    renderer.close()
    gc.enable()
    assert [one for one in held if one() is not None] == []
    assert renderer.memory() == 0


def lent_of(pipeline: Any) -> set[nn.Module]:
    held = borrowed(pipeline)
    assert set(held) == {"controlnet"}
    assert {one.name for one in held["controlnet"]} <= set(LENT)
    return {one.module for one in held["controlnet"]}


@pytest.mark.parametrize("kind", CONTROLNETS)
def test_what_is_fetched_ahead_has_one_place_in_the_order(
    kind: str, make_renderer: Make, monkeypatch: pytest.MonkeyPatch, lazy_device: torch.device
) -> None:
    """What is lent is not ahead of time: it comes twice a step, after different layers."""
    pipeline = make_renderer(kind).load().pipeline
    monkeypatch.setattr(placing, "STREAMS", ("lazy",))
    monkeypatch.setattr(placing, "_main_memory_is_short", lambda _: True)  # no pinned memory here
    placing._carry_out(pipeline, "group", lazy_device)
    lent = {layer for module in lent_of(pipeline) for layer in module.modules()}
    hooks = {
        layer: HookRegistry.check_if_exists_or_initialize(layer).get_hook(GROUP)
        for layer in (*pipeline.transformer.modules(), *pipeline.controlnet.modules())
    }
    for layer, hook in hooks.items():
        if any(True for _ in layer.parameters(recurse=False)):
            assert hook is not None
            assert (hook.group.stream is None) == (layer in lent)
    assert lent & hooks.keys()
    assert lent != hooks.keys()


def test_what_is_lent_is_counted_once(make_renderer: Make) -> None:
    pipeline = make_renderer().load().pipeline
    lent = lent_of(pipeline)
    sizes = sizes_of_pipeline(pipeline)
    whole = 4 * sum(one.numel() for one in pipeline.controlnet.parameters())
    of_lent = 4 * sum(weight.numel() for one in lent for weight in one.parameters())
    assert of_lent > 0
    assert sizes["controlnet"].parameters == whole - of_lent
    assert lent_of(pipeline) == lent


def test_a_part_that_borrows_stays_with_the_one_that_lends(
    make_renderer: Make,
    requests: list[RenderRequest],
    monkeypatch: pytest.MonkeyPatch,
    lazy_device: torch.device,
) -> None:
    whole = pictures(make_renderer(), requests)
    there = [CPU, lazy_device]
    monkeypatch.setattr("threedis_diffusers.joint.model.resolve_device", lambda _: lazy_device)
    monkeypatch.setattr("threedis_diffusers.devices.accelerators", lambda kind: there)
    monkeypatch.setattr(spreading, "accelerators", lambda kind: there)
    monkeypatch.setattr(spreading, "room_on", lambda one: 2**30 + (one == lazy_device))
    monkeypatch.setattr(placing, "work_of", lambda *_: placing.Work(2**30))
    monkeypatch.setattr(fitting, "SHARED_MEMORY", ("cpu", "lazy"))
    renderer = make_renderer(device_map="balanced", dtype="float32")
    assert np.abs(pictures(renderer, requests) - whole).max() <= 2
    assert renderer.load().pipeline.hf_device_map == {
        **dict.fromkeys(("transformer", "controlnet", "vae"), "lazy:0"),
        "text_encoder": "cpu",
    }


@pytest.mark.parametrize("parts", [("transformer", "controlnet"), ("controlnet",)])
def test_what_is_lent_is_cast_to_fp8_once_and_as_the_lender_is(
    parts: tuple[str, ...], make_renderer: Make, requests: list[RenderRequest]
) -> None:
    renderer = make_renderer(quantization=dict.fromkeys(parts, "fp8"))
    assert pictures(renderer, requests).std() > 0
    pipeline = renderer.load().pipeline
    cast = {
        name: layer
        for part in ("transformer", "controlnet")
        for name, layer in getattr(pipeline, part).named_modules()
        if HookRegistry.check_if_exists_or_initialize(layer).get_hook(CAST) is not None
    }
    assert any(name.startswith("control_layers") for name in cast)
    lent = any(name.startswith("noise_refiner") for name in cast)
    assert lent == ("transformer" in parts)
