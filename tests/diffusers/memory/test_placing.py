"""offload=auto puts a loaded pipeline where the free memory lets it be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from threedis_core.errors import OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.testing.samples import sample_request
from threedis_diffusers.devices import check_abilities, choose_dtype
from threedis_diffusers.memory import fitting, placing
from threedis_diffusers.memory.needs import SPARE
from threedis_diffusers.options import DiffusersOptions

NAMES = ("pocket-sd15", "pocket-flux")
SIDE = 64


class Card:
    """A CPU that is taken for an accelerator with memory of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: int | None = 0
        for module in (placing, fitting):
            monkeypatch.setattr(module, "SHARED_MEMORY", ())
            monkeypatch.setattr(module, "free_on", lambda device: self.free)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


def make(name: str, **options: Any) -> Any:
    return load_plugins().renderer(name, {"device": "cpu", "steps": 1, **options})


def request(seed: int = 0) -> Any:
    return sample_request(2, seed, size=(SIDE, SIDE))


def enough_for(name: str, way: str) -> int:
    renderer = make(name)
    side = max(renderer.capabilities.default_size)
    needs = placing.needs_of(renderer.load().pipeline, (side, side))
    return next(need.device for need in needs if need.offload == way)


@pytest.mark.parametrize("way", ["none", "model", "group"])
@pytest.mark.parametrize("name", NAMES)
def test_auto_takes_the_roomiest_way_says_so_and_draws_the_same(
    card: Card, name: str, way: str
) -> None:
    card.free = None
    whole = make(name, offload="none").render([request()])[0]
    card.free = enough_for(name, way)
    result = make(name).render([request()])[0]
    assert result.provenance["offload"] == way
    assert np.array_equal(np.asarray(whole.image), np.asarray(result.image))


def test_a_cpu_is_left_as_it_is() -> None:
    assert make("pocket-sd15").load().offload == "none"


def test_where_less_fits_than_was_thought_the_next_way_is_taken(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    carry_out = placing._carry_out

    def small(pipeline: Any, way: str, device: torch.device) -> None:
        tried.append(way)
        if way != "group":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        carry_out(pipeline, way, device)

    card.free = enough_for("pocket-sd15", "none")
    monkeypatch.setattr(placing, "_carry_out", small)
    renderer = make("pocket-sd15")
    assert renderer.render([request()])[0].provenance["offload"] == "group"
    assert tried == ["none", "model", "group"]


def test_a_batch_is_cut_to_what_fits_and_its_pictures_say_so(card: Card) -> None:
    card.free = None
    renderer = make("pocket-sd15", offload="none")
    requests = [request(seed) for seed in range(3)]
    together = renderer.render(requests)
    assert [result.warnings for result in together] == [()] * 3
    pipeline = renderer.load().pipeline
    parts = placing.sizes_of_pipeline(pipeline)
    drawing = placing.Drawing((SIDE, SIDE), 2, 4)
    card.free = placing.work_of(pipeline, parts, drawing).most + SPARE
    told: list[tuple[int, int]] = []
    cut = renderer.render(requests, lambda stage, done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    for result, whole in zip(cut, together, strict=True):
        assert "2 of 3 pictures at once" in result.warnings[0]
        difference = np.abs(np.asarray(result.image).astype(int) - np.asarray(whole.image))
        assert difference.max() <= 2


CPU, MPS, XPU, CUDA = (torch.device(kind) for kind in ("cpu", "mps", "xpu", "cuda"))


@pytest.mark.parametrize(
    ("asked", "kind", "accelerated", "has_bfloat16", "expected"),
    [
        ("auto", "cpu", torch.float16, True, torch.float32),
        ("auto", "cuda", torch.float16, True, torch.float16),
        ("auto", "xpu", torch.bfloat16, True, torch.bfloat16),
        ("auto", "mps", torch.float16, False, torch.float16),
        ("auto", "mps", torch.bfloat16, True, torch.bfloat16),
        ("auto", "mps", torch.bfloat16, False, torch.float32),
        ("float16", "mps", torch.bfloat16, False, torch.float16),
    ],
)
def test_the_number_format_is_one_that_the_device_has(
    asked: str, kind: str, accelerated: Any, has_bfloat16: bool, expected: Any
) -> None:
    assert choose_dtype(asked, kind, accelerated, has_bfloat16) == expected


def test_bfloat16_is_refused_where_it_is_not_there() -> None:
    with pytest.raises(OptionError, match=r"from macOS 14 on; use dtype=float16"):
        choose_dtype("bfloat16", "mps", torch.bfloat16, has_bfloat16=False)


@pytest.mark.parametrize(
    ("options", "device", "said"),
    [
        ({"offload": "model"}, CPU, "nothing to offload from"),
        ({"offload": "group"}, MPS, "'mps', which shares the main memory"),
        ({"attention_backend": "cudnn"}, XPU, "needs a CUDA device"),
        ({"attention_backend": "efficient"}, MPS, "needs a CUDA device"),
        ({"attention_backend": "flash"}, MPS, "is not there on MPS"),
    ],
)
def test_what_a_device_cannot_do_is_refused(
    options: dict[str, Any], device: torch.device, said: str
) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        check_abilities(DiffusersOptions(model="any", **options), device)
    assert caught.value.hint


@pytest.mark.parametrize("device", [CPU, MPS, XPU, CUDA])
def test_what_is_there_by_default_every_device_can_do(device: torch.device) -> None:
    check_abilities(DiffusersOptions(model="any"), device)
    if device in (XPU, CUDA):
        check_abilities(DiffusersOptions(model="any", offload="group"), device)


def test_a_batch_that_runs_out_of_memory_is_drawn_in_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from threedis_core import Engine
    from threedis_core.testing import sample_depth, sample_layout
    from threedis_sd.sd15 import SD15Renderer

    tried: list[int] = []
    draw = SD15Renderer.draw

    def small(self: Any, loaded: Any, batch: Any, on_step: Any) -> Any:
        tried.append(len(batch.requests))
        if len(batch.requests) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return draw(self, loaded, batch, on_step)

    monkeypatch.setattr(SD15Renderer, "draw", small)
    layout = sample_layout(2)
    with Engine() as engine:
        run = engine.render(
            layout,
            depth=sample_depth(layout, SIDE, SIDE),
            renderers={"pocket-sd15": {"device": "cpu"}},
            seeds=(0, 1),
            steps=1,
        )
        assert engine.memory > 0  # it stays loaded
    assert tried == [2, 1, 1]
    assert all("1 at a time" in " ".join(image.warnings) for image in run.images)
