"""The flux renderer from a layout to a picture, on a tiny real model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch._dynamo.utils import counters

from threedis_core.attention.lowering import MAKERS
from threedis_core.errors import OptionError, RenderError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

Request = Callable[..., RenderRequest]
Renderers = Callable[..., FluxRenderer]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
DOG = ("a blue dog", (0.4, 0.4, 0.9, 0.9))
LONG = "a red cat " + "and a dog " * 12 + "with a golden crown"


def pixels(renderer: FluxRenderer, request: RenderRequest) -> np.ndarray:
    return np.asarray(renderer.render([request])[0].image).astype(int)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
@pytest.mark.parametrize("off", ["no instances", "no control", "texts_steps"])
def test_without_control_the_picture_is_the_stock_pipelines(
    off: str,
    size: tuple[int, int],
    make_renderer: Renderers,
    make_request: Request,
    stock_picture: Callable[..., Image.Image],
) -> None:
    request = {
        "no instances": lambda: make_request(size=size, seed=3),
        "no control": lambda: make_request(CAT, DOG, size=size, seed=3, control=ControlSchedule()),
        "texts_steps": lambda: make_request(CAT, DOG, size=size, seed=3),
    }[off]()
    made = pixels(make_renderer(texts_steps=0 if off == "texts_steps" else None), request)
    assert np.array_equal(made, np.asarray(stock_picture(request)))


@pytest.mark.parametrize(
    "options",
    [
        {"i2i": False},
        {"i2t": False},
        {"t2i": False},
        {"t2t": False},
        {"i2i_steps": 20},
        {"i2t_steps": 7},
        {"t2i_steps": 7},
        {"t2t_steps": 7},
        {"texts_steps": 7},
        {"tokens_per_prompt": 24},
        {"guidance": 2.0},
        {"steps": 4},
    ],
)
def test_every_option_has_an_effect(
    options: dict[str, Any],
    renderer: FluxRenderer,
    make_renderer: Renderers,
    make_request: Request,
) -> None:
    request = make_request(CAT, DOG)
    assert not np.array_equal(pixels(renderer, request), pixels(make_renderer(**options), request))


def test_the_requests_schedule_overrides_the_options(
    make_renderer: Renderers, make_request: Request
) -> None:
    everywhere = {name: StepRange() for name in ("i2t", "t2i", "t2t")}
    control = ControlSchedule({**everywhere, "i2i": StepRange(0, 2)})
    by_request = pixels(make_renderer(), make_request(CAT, DOG, control=control))
    by_option = pixels(make_renderer(i2i_steps=13), make_request(CAT, DOG))
    assert np.array_equal(by_request, by_option)


def test_texts_alone_are_heard_everywhere(make_renderer: Renderers, make_request: Request) -> None:
    """Nothing is masked then, so where the boxes are makes no difference."""
    control = ControlSchedule({"texts": StepRange()})
    here = make_request(CAT, DOG, control=control)
    swapped = make_request((CAT[0], DOG[1]), (DOG[0], CAT[1]), control=control)
    object.__setattr__(swapped, "depth", here.depth)
    assert np.array_equal(pixels(make_renderer(), here), pixels(make_renderer(), swapped))
    plain = make_request(CAT, DOG, control=ControlSchedule())
    assert not np.array_equal(pixels(make_renderer(), here), pixels(make_renderer(), plain))


@pytest.mark.parametrize(
    ("tokens", "lowering"), [(12, "segments"), *(("auto", name) for name in sorted(MAKERS))]
)
def test_requests_of_one_batch_may_differ_in_everything(
    tokens: int | str, lowering: str, make_renderer: Renderers, make_request: Request
) -> None:
    renderer = make_renderer(attention=lowering, tokens_per_prompt=tokens, texts_steps=10, steps=2)
    requests = [
        make_request(CAT, DOG, seed=1),
        make_request(seed=2),
        make_request((LONG, DOG[1]), seed=3, prompt="a street"),
        make_request(CAT, DOG, CAT, ("a bird", (0, 0, 1, 1)), seed=4),
        make_request(CAT, seed=5, size=(48, 80)),
        make_request(CAT, DOG, seed=6, steps=1, guidance=2.0),
        make_request(DOG, seed=7, control=ControlSchedule({"t2i": StepRange(1)})),
    ]
    told: list[tuple[int, int]] = []
    together = renderer.render(requests, lambda stage, done, total: told.append((done, total)))
    assert told == [(done, 7) for done in range(1, 8)]
    for request, result in zip(requests, together, strict=True):
        difference = np.abs(pixels(renderer, request) - np.asarray(result.image).astype(int))
        assert difference.max() <= 2


@pytest.mark.parametrize("lowering", sorted(MAKERS))
def test_every_lowering_gives_nearly_the_same_picture(
    lowering: str, make_renderer: Renderers, make_request: Request
) -> None:
    request = make_request(CAT, DOG, size=(80, 64))
    dense = pixels(make_renderer(attention="dense"), request)
    made = make_renderer(attention=lowering).render([request])[0]
    assert np.abs(dense - np.asarray(made.image).astype(int)).max() <= 2
    for phase in made.provenance["attention"]:
        assert (phase["lowering"], phase["reason"]) == (lowering, "as the option says")


def test_provenance_says_what_was_used_and_why(
    renderer: FluxRenderer, make_request: Request
) -> None:
    facts = renderer.render([make_request(CAT, seed=9)])[0].provenance
    for phase in facts["attention"]:
        assert phase["lowering"] in MAKERS
        assert phase["reason"]
    assert (facts["steps"], facts["guidance"], facts["tokens_per_prompt"]) == (3, 10.0, 12)
    assert (facts["device"], facts["dtype"]) == ("cpu", "float32")
    controls = ["i2i", "i2t", "t2i", "t2t", "texts"]
    assert facts["phases"] == [
        {"start": 0, "stop": 1, "controls": controls},
        {"start": 1, "stop": 3, "controls": controls[1:]},
    ]


def test_auto_keeps_the_tokens_of_the_longest_prompt(
    make_renderer: Renderers, make_request: Request
) -> None:
    renderer = make_renderer(tokens_per_prompt="auto")
    tokenizer = renderer.load().pipeline.tokenizer_2
    for request, longest in (
        (make_request(prompt="a"), "a"),
        (make_request(CAT, (LONG, DOG[1])), LONG),
        (make_request(CAT, (LONG, DOG[1]), control=ControlSchedule()), "animals in a field"),
    ):
        result = renderer.render([request])[0]
        kept, needed = result.provenance["tokens_per_prompt"], len(tokenizer(longest).input_ids)
        assert needed <= kept < needed + 8
        assert kept % 8 == 0
        assert not any("did not read" in warning for warning in result.warnings)


def test_words_that_the_model_does_not_read_are_told(
    renderer: FluxRenderer, make_request: Request
) -> None:
    request = make_request(("a cat", DOG[1]), (LONG, CAT[1]), prompt="a", negative_prompt="grey")
    instance, negative = renderer.render([request])[0].warnings
    assert instance.startswith("the prompt of instance 1 ('a red cat")
    assert "negative prompt has no effect" in negative


@pytest.mark.parametrize("tokens", [12, "auto"])
def test_prompts_are_tokenized_once_beside_the_pipelines_own_way(
    tokens: int | str,
    make_renderer: Renderers,
    make_request: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = make_renderer(tokens_per_prompt=tokens)
    tokenizer, ours = renderer.load().pipeline.tokenizer_2, list[Any]()
    original = type(tokenizer).__call__

    def note(self: Any, texts: Any, *arguments: Any, **options: Any) -> Any:
        if self is tokenizer and options.get("verbose") is False:  # the pipeline's are not
            ours.append(texts)
        return original(self, texts, *arguments, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", note)
    renderer.render([make_request(CAT, DOG)])
    assert ours == [["animals in a field", CAT[0], DOG[0]]]


def test_a_prompt_that_is_too_long_for_clip_is_told(
    make_renderer: Renderers, make_request: Request
) -> None:
    request = make_request(prompt=LONG * 4)
    warnings = make_renderer(tokens_per_prompt=512).render([request])[0].warnings
    assert any(warning.startswith("CLIP's summary of the prompt") for warning in warnings)


def test_a_backend_that_is_rendering_refuses_a_second_call(
    renderer: FluxRenderer, make_request: Request
) -> None:
    def again(stage: str, done: int, total: int) -> None:
        renderer.render([make_request()])

    with pytest.raises(RenderError, match="at work already"):
        renderer.render([make_request()], again)
    assert renderer.render([make_request()])


def test_the_math_kernel_gives_nearly_the_same_picture(
    make_renderer: Renderers, make_request: Request
) -> None:
    request = make_request(CAT, DOG)
    other = pixels(make_renderer(attention_backend="math"), request)
    assert np.abs(pixels(make_renderer(), request) - other).max() <= 2


def test_a_kernel_that_needs_cuda_is_refused_on_a_cpu(
    make_request: Request,
) -> None:
    from threedis_flux.options import FluxOptions

    options = FluxOptions(model="/no/such/model", device="cpu", attention_backend="cudnn")
    with pytest.raises(OptionError, match="needs a CUDA device"):
        FluxRenderer(options).render([make_request(size=(64, 64))])


@pytest.mark.parametrize("lowering", sorted(MAKERS))
def test_in_bfloat16_every_lowering_gives_nearly_the_same_picture(
    lowering: str, bfloat16_renderer: FluxRenderer, make_request: Request
) -> None:
    options = bfloat16_renderer.options.model_copy(update={"attention": lowering})
    renderer = FluxRenderer(options)
    renderer._loaded = bfloat16_renderer.load()
    request = make_request(CAT, DOG)
    made = renderer.render([request])[0]
    assert made.provenance["dtype"] == "bfloat16"
    difference = pixels(bfloat16_renderer, request) - np.asarray(made.image).astype(int)
    assert np.abs(difference).mean() < 2


@pytest.fixture(scope="module")
def bfloat16_renderer(renderer: FluxRenderer) -> FluxRenderer:
    changes = {"dtype": "bfloat16", "attention": "dense"}
    return FluxRenderer(renderer.options.model_copy(update=changes))


def test_compiled_blocks_give_nearly_the_same_picture_and_are_compiled_once(
    renderer: FluxRenderer, make_request: Request
) -> None:
    """Traced, then run by torch itself: what is tested is that the hook goes with tracing."""
    request = make_request(CAT, DOG)
    expected = pixels(renderer, request)
    fresh = FluxRenderer(renderer.options)
    fresh.load().pipeline.transformer.compile_repeated_blocks(backend="eager")
    traced: list[int] = []
    for _ in range(3):
        assert np.abs(pixels(fresh, request) - expected).max() <= 2
        traced.append(counters["stats"]["unique_graphs"])
    assert traced[0] > 0
    assert traced[1] == traced[2], "each run compiled the blocks anew"
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "scheduler",
    [
        {"shift": 7.0, "use_dynamic_shifting": False},
        {"name": "FlowMatchLCMScheduler"},
        {"name": "UniPCMultistep", "solver_order": 1},
        {"use_beta_sigmas": True},
    ],
)
def test_another_scheduler_or_setting_gives_another_picture(
    scheduler: dict[str, Any],
    make_request: Callable[..., RenderRequest],
    renderer: FluxRenderer,
) -> None:
    request = make_request(("a red cat", (0.0, 0.0, 0.5, 1.0)))
    options = FluxOptions(**{**renderer.options.model_dump(), "scheduler": scheduler})
    result = FluxRenderer(options).render([request])[0]
    own = renderer.render([request])[0]
    assert not np.array_equal(np.asarray(result.image), np.asarray(own.image))
    if name := scheduler.get("name"):
        assert str(result.provenance["scheduler"]).startswith(name)
