"""device_map=balanced spreads a loaded pipeline over several accelerators.

Here they are the CPU and torch's lazy device.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from threedis_core.errors import OptionError, RenderError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.testing.samples import sample_layout, sample_request
from threedis_diffusers import devices
from threedis_diffusers.memory import fitting, placing, spreading
from threedis_diffusers.memory.spreading import balanced
from threedis_diffusers.options import DiffusersOptions

GIB = 2**30
FAMILIES = ("pocket-sdxl", "pocket-flux", "pocket-flux-controlnet")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("sizes", "free", "expected"),
    [
        ({"text_encoder": 1, "text_encoder_2": 9}, {"a": 10, "b": 9}, "ba"),
        ({"text_encoder": 1, "text_encoder_2": 9}, {"a": 10, "b": 20}, "bb"),
        ({"text_encoder": 5, "text_encoder_2": 5}, {"a": 8, "b": 8}, "ab"),
        ({"text_encoder": 1, "text_encoder_2": 2, "controlnet": 3}, {"a": 4, "b": 4}, "bba"),
        ({"text_encoder": 3}, {"a": -1, "b": 3}, "b"),
        ({}, {"a": 1, "b": 1}, ""),
    ],
)
def test_the_largest_part_goes_first_where_most_room_is_left(
    sizes: dict[str, int], free: dict[str, int], expected: str
) -> None:
    assert balanced(sizes, free) == dict(zip(sizes, expected, strict=True))


def test_a_part_without_room_is_named_with_what_is_left() -> None:
    sizes = {"text_encoder": GIB, "text_encoder_2": 9 * GIB}
    said = r"text_encoder_2 takes 9.0 GiB, but no more than 8.5 GiB are left \('b'\); use smaller"
    with pytest.raises(RenderError, match=said) as caught:
        balanced(sizes, {"a": 8 * GIB, "b": 17 * GIB // 2})
    assert caught.value.code == "out-of-memory"


@pytest.fixture(params=["cpu", "lazy"])
def home(
    request: pytest.FixtureRequest, lazy_device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> torch.device:
    """The roomier of two devices, the other of which has room as well."""
    there = [CPU, lazy_device]
    roomiest = next(one for one in there if one.type == request.param)
    for module in (devices, spreading):
        monkeypatch.setattr(module, "accelerators", lambda kind: there)
        monkeypatch.setattr(module, "room_on", lambda one: GIB + (one == roomiest))
    # The work is thought to leave little where the denoiser is, so the others go elsewhere.
    monkeypatch.setattr(placing, "work_of", lambda *_: placing.Work(GIB))
    monkeypatch.setattr(fitting, "SHARED_MEMORY", ("cpu", "lazy"))
    return roomiest


def made(name: str, **options: Any) -> Any:
    return load_plugins().renderer(name, {"device": "cpu", "steps": 1, **options})


@pytest.mark.parametrize("name", FAMILIES)
def test_a_spread_model_draws_the_same_picture_and_says_where_it_was(
    home: torch.device, name: str
) -> None:
    requests = [sample_request(2, seed, size=(64, 64)) for seed in range(2)]
    whole = made(name).render(requests)
    renderer = made(name, device_map="balanced")
    spread = renderer.render(requests)
    loaded = renderer.load()
    assert loaded.device == loaded.pipeline._execution_device == home
    told = spread[0].provenance["device_map"]
    assert {part for part, place in told.items() if place == str(home)} == {
        one for one in told if one in spreading.HOME
    }
    for part, place in told.items():
        weights = [*loaded.pipeline.components[part].parameters()]
        assert {weight.device for weight in weights} == {torch.device(place)}
    assert "device_map" not in whole[0].provenance
    for one, other in zip(spread, whole, strict=True):
        difference = np.abs(np.asarray(one.image).astype(int) - np.asarray(other.image))
        assert difference.max() <= 2


def test_a_spread_depth_model_makes_the_same_map(home: torch.device) -> None:
    options = {"device": "cpu", "steps": 1}
    requests = [DepthRequest(sample_layout(2), 0, 64, 64)]
    registry = load_plugins()
    whole = registry.depth_model("pocket-depth", options).generate(requests)[0]
    model: Any = registry.depth_model("pocket-depth", {**options, "device_map": "balanced"})
    assert np.abs(model.generate(requests)[0].values - whole.values).max() < 0.01
    places = model.load().pipeline.hf_device_map
    assert places["unet"] == str(home) != places["text_encoder"]


def test_a_closed_spread_renderer_leaves_no_weights(home: torch.device) -> None:
    gc.collect()
    gc.disable()
    try:
        renderer = made("pocket-flux", device_map="balanced")
        renderer.render([sample_request(2, 0, size=(64, 64))])
        pipeline = renderer.load().pipeline
        parts = [weakref.ref(pipeline.components[name]) for name in pipeline.hf_device_map]
        assert len(parts) == 4
        del pipeline
        renderer.close()
        assert not any(part() for part in parts)
    finally:
        gc.enable()


def test_spread_models_are_loads_of_their_own() -> None:
    assert made("pocket-sd15").load_key() != made("pocket-sd15", device_map="balanced").load_key()


def test_nothing_is_said_of_the_memory_of_one_accelerator(home: torch.device) -> None:
    found = made("pocket-sd15", device_map="balanced").inspect()
    assert found.ready
    assert found.memory == ()
    assert "over cpu, lazy:0, by what is free" in found.notes[-1]


@pytest.mark.parametrize(
    ("options", "device", "there", "said"),
    [
        ({"offload": "group"}, CUDA, 2, "offload is 'group': a model is either spread"),
        ({"device": "cuda:1"}, torch.device("cuda:1"), 2, "device is 'cuda:1', one of them"),
        ({}, CUDA, 1, "but 'cuda:0' is the only one here"),
        ({}, CPU, 0, "but there is none here"),
        ({"device": "cpu"}, CPU, 0, "but device is 'cpu'"),
    ],
)
def test_what_cannot_be_spread_is_refused(
    options: dict[str, Any], device: torch.device, there: int, said: str
) -> None:
    asked = DiffusersOptions(model="any", device_map="balanced", **options)
    with pytest.raises(OptionError, match=said) as caught:
        devices.check_map(asked, device, [torch.device("cuda", n) for n in range(there)])
    assert caught.value.hint


def test_a_machine_without_accelerators_says_so_before_anything_is_loaded() -> None:
    with pytest.raises(OptionError, match="device_map is 'balanced'"):
        made("pocket-sd15", device_map="balanced").check()
