"""The sd15 renderer from a layout to a picture, on a tiny real model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.batch import Batch
from threedis_diffusers.unet.prompts import NEUTRAL_NEGATIVE_PROMPT, Text
from threedis_sd.batch import draw_pictures, fusion_plan
from threedis_sd.sd15 import SD15Options, SD15Renderer

Request = Callable[..., RenderRequest]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
DOG = ("a blue dog", (0.5, 0.4, 0.9, 0.9))
LONG = "a red cat " + "and a dog " * 60
PLAIN_CONTROLNET: dict[str, Any] = {
    "controlnet_prompt": None,
    "controlnet_negative_prompt": None,
}


@pytest.fixture(scope="module")
def renderer(pipeline_folder: Path) -> SD15Renderer:
    return SD15Renderer(SD15Options(model=str(pipeline_folder), steps=3))


@pytest.fixture
def make_renderer(pipeline_folder: Path, renderer: SD15Renderer) -> Callable[..., SD15Renderer]:
    """A renderer with other options on the model that is loaded already."""

    def make(**options: Any) -> SD15Renderer:
        other = SD15Renderer(SD15Options(model=str(pipeline_folder), **{"steps": 3, **options}))
        other._loaded = renderer.load()
        return other

    return make


def pixels(renderer: SD15Renderer, request: RenderRequest) -> np.ndarray:
    return np.asarray(renderer.render([request])[0].image)


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("plain", {}),
        ("control_cn", {"control_cn": True}),
        ("lowpass", {"low_pass": True}),
        ("no_and", {"repeat_prompt": False}),
        # The published code counts to its number of steps inclusively.
        ("three_control_steps", {"control_steps": 4}),
    ],
)
def test_the_whole_loop_equals_the_published_one(
    variant: str,
    options: dict[str, Any],
    make_renderer: Callable[..., SD15Renderer],
    golden_cases: dict[str, Any],
    golden_tensors: Callable[[str], dict[str, torch.Tensor]],
) -> None:
    facts, tensors = golden_cases["sd15_pipeline"], golden_tensors("sd15_pipeline")
    instances = [
        {"prompt": prompt, "box": box}
        for prompt, box in zip(facts["instance_prompts"], facts["boxes"], strict=True)
    ]
    texts = {"prompt": facts["prompt"], "negative_prompt": facts["negative_prompt"]}
    layout = Layout.from_dict({"version": 1, **texts, "instances": instances})
    size = {"width": facts["width"], "height": facts["height"]}
    depth = DepthMap(tensors["in.depth"].numpy().astype(np.float32) / 255)
    request = RenderRequest(layout, depth, Regions.from_layout(layout, **size), 0, **size)
    renderer = make_renderer(steps=facts["steps"], guidance=facts["guidance_scale"], **options)
    loaded = renderer.load()
    schedule = ControlSchedule({"regions": StepRange.first(renderer.options.control_steps)})
    batch = Batch([request], facts["steps"], facts["guidance_scale"], schedule)

    def encode(texts: list[str]) -> Text:
        return renderer.encode(loaded.pipeline, texts, loaded.device)

    latents = draw_pictures(
        loaded.pipeline,
        encode,
        batch,
        fusion_plan(loaded.pipeline, batch, renderer.options),
        renderer.options,
        lambda done, total: None,
        latents=tensors["in.latents"],
        output_type="latent",
    )
    expected = tensors[f"out.{variant}"]
    assert (latents - expected).abs().max() / expected.std() < 1e-4


@pytest.mark.parametrize("guidance", [7.5, 1.0])
@pytest.mark.parametrize("size", [(128, 128), (72, 104)])
def test_without_instances_the_picture_is_the_stock_pipelines(
    guidance: float,
    size: tuple[int, int],
    make_renderer: Callable[..., SD15Renderer],
    make_request: Request,
    stock_picture: Callable[..., Image.Image],
) -> None:
    request = make_request(size=size, seed=3)
    made = pixels(make_renderer(guidance=guidance, **PLAIN_CONTROLNET), request)
    expected = stock_picture(request, num_inference_steps=3, guidance_scale=guidance)
    assert np.array_equal(made, np.asarray(expected))


def test_a_null_controlnet_prompt_alone_makes_the_controlnet_read_what_the_stock_one_reads(
    make_renderer: Callable[..., SD15Renderer],
    make_request: Request,
    stock_picture: Callable[..., Image.Image],
) -> None:
    """This model's ControlNet is not zero-initialised: what it reads is seen in the picture."""
    request = make_request(seed=3)
    expected = np.asarray(stock_picture(request, num_inference_steps=3, guidance_scale=7.5))
    assert np.array_equal(pixels(make_renderer(controlnet_prompt=None), request), expected)
    neutral = {"controlnet_negative_prompt": NEUTRAL_NEGATIVE_PROMPT}
    for options in ({}, {"controlnet_prompt": None, **neutral}):
        assert not np.array_equal(pixels(make_renderer(**options), request), expected)


def test_with_no_control_on_the_picture_is_the_stock_pipelines(
    make_renderer: Callable[..., SD15Renderer],
    make_request: Request,
    stock_picture: Callable[..., Image.Image],
) -> None:
    request = make_request(CAT, DOG, control=ControlSchedule())
    made = pixels(make_renderer(**PLAIN_CONTROLNET), request)
    expected = stock_picture(request, num_inference_steps=3, guidance_scale=7.5)
    assert np.array_equal(made, np.asarray(expected))


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 2.0},
        {"background_weight": 1.0},
        {"repeat_prompt": False},
        {"control_cn": True},
        {"controlnet_prompt": "something else"},
        {"controlnet_negative_prompt": "something else"},
        {"low_pass": True},
        {"control_steps": 1},
        {"control_steps": 0},
        {"controlnet_scale": 0.5},
        {"controlnet_end": 0.4},
        {"guidance": 1.0},
        {"scheduler": "ddim"},
    ],
)
def test_every_option_has_an_effect(
    options: dict[str, Any],
    renderer: SD15Renderer,
    pipeline_folder: Path,
    make_renderer: Callable[..., SD15Renderer],
    make_request: Request,
) -> None:
    request = make_request(CAT, DOG)
    other = make_renderer(**options)
    if "scheduler" in options:
        other = SD15Renderer(SD15Options(model=str(pipeline_folder), steps=3, **options))
    assert not np.array_equal(pixels(renderer, request), pixels(other, request))


def test_the_requests_schedule_overrides_the_option(
    make_renderer: Callable[..., SD15Renderer], make_request: Request
) -> None:
    control = ControlSchedule({"regions": StepRange(0, 2)})
    by_request = pixels(make_renderer(), make_request(CAT, control=control))
    by_option = pixels(make_renderer(control_steps=2), make_request(CAT))
    assert np.array_equal(by_request, by_option)


def test_a_step_of_a_second_order_scheduler_counts_once(
    pipeline_folder: Path, make_request: Request
) -> None:
    told: list[tuple[int, int]] = []
    options = SD15Options(model=str(pipeline_folder), steps=3, scheduler="heun", control_steps=2)
    heun = SD15Renderer(options)
    heun.load()  # of which it would be told, too
    result = heun.render([make_request(CAT)], lambda stage, done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert result[0].provenance["phases"] == [
        {"start": 0, "stop": 2, "controls": ["regions"]},
        {"start": 2, "stop": 3, "controls": []},
    ]


def test_requests_of_one_batch_may_differ_in_everything(
    renderer: SD15Renderer, make_request: Request
) -> None:
    requests = [
        make_request(CAT, DOG, seed=1),
        make_request(seed=2),
        make_request(DOG, seed=3, prompt="a street", steps=2),
        make_request(CAT, seed=4, size=(96, 64)),
        make_request(CAT, DOG, CAT, seed=5, guidance=1.0),
        make_request(DOG, seed=6, control=ControlSchedule({"regions": StepRange(1)})),
    ]
    told: list[tuple[int, int]] = []
    together = renderer.render(requests, lambda stage, done, total: told.append((done, total)))
    assert told == [(done, 14) for done in range(1, 15)]
    for request, result in zip(requests, together, strict=True):
        alone = pixels(renderer, request).astype(int)
        assert np.abs(alone - np.asarray(result.image).astype(int)).max() <= 2


def test_words_that_the_model_does_not_read_are_told(
    renderer: SD15Renderer, make_request: Request
) -> None:
    long = ("a red cat " + "and a dog " * 12 + "with a golden crown", CAT[1])
    warnings = renderer.render([make_request(DOG, long)])[0].warnings
    assert len(warnings) == 1
    assert "instance 1 ('a red cat and a dog" in warnings[0]
    assert "golden crown" in warnings[0]


def test_of_a_very_long_prompt_the_warning_gives_only_the_start_of_what_is_lost(
    renderer: SD15Renderer, make_request: Request
) -> None:
    warnings = renderer.render([make_request((LONG, CAT[1]))])[0].warnings
    assert len(warnings[0]) < 350
    assert "...'" in warnings[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"controlnet_prompt": LONG}, ["controlnet_prompt"]),
        ({"controlnet_negative_prompt": LONG}, ["controlnet_negative_prompt"]),
        ({"controlnet_negative_prompt": LONG, "guidance": 1.0}, []),
        ({"controlnet_prompt": LONG, "control_cn": True}, []),
    ],
)
def test_a_long_controlnet_prompt_is_told_where_it_is_used(
    options: dict[str, Any],
    told: list[str],
    make_renderer: Callable[..., SD15Renderer],
    make_request: Request,
) -> None:
    warnings = make_renderer(**options).render([make_request(CAT)])[0].warnings
    assert [warning.split()[0] for warning in warnings] == told


def test_a_long_negative_prompt_is_told_where_it_is_used(
    renderer: SD15Renderer, make_request: Request
) -> None:
    requests = [make_request(negative_prompt=LONG, guidance=guidance) for guidance in (7.5, 1.0)]
    guided, unguided = renderer.render(requests)
    assert guided.warnings[0].startswith("the negative prompt ('a red cat")
    assert unguided.warnings == ()


def test_a_region_too_small_to_be_seen_is_told(
    renderer: SD15Renderer, make_request: Request
) -> None:
    tiny = ("a blue dog", (0.5, 0.5, 0.501, 0.9))
    warnings = renderer.render([make_request(CAT, tiny)])[0].warnings
    assert len(warnings) == 1
    assert "instance 1 ('a blue dog')" in warnings[0]


def test_a_backend_that_is_rendering_refuses_a_second_call(
    renderer: SD15Renderer, make_request: Request
) -> None:
    def again(stage: str, done: int, total: int) -> None:
        renderer.render([make_request()])

    with pytest.raises(RenderError, match="at work already"):
        renderer.render([make_request()], again)
    assert renderer.render([make_request()])


def test_a_layout_with_several_seeds_is_tokenized_once_beside_the_pipelines_own_way(
    renderer: SD15Renderer, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, ours = renderer.load().pipeline.tokenizer, list[Any]()
    original = type(tokenizer).__call__

    def note(self: Any, texts: Any, *arguments: Any, **options: Any) -> Any:
        if self is tokenizer and options.get("verbose") is False:  # the pipeline's are not
            ours.append(texts)
        return original(self, texts, *arguments, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", note)
    renderer.render([make_request(CAT, DOG, seed=seed) for seed in range(3)])
    assert len(ours) == 1
    assert {CAT[0], DOG[0]} <= set(ours[0])


def test_provenance_says_what_was_used(renderer: SD15Renderer, make_request: Request) -> None:
    facts = renderer.render([make_request(CAT, seed=9)])[0].provenance
    assert (facts["steps"], facts["guidance"]) == (3, 7.5)
    assert facts["scheduler"] == "EulerDiscreteScheduler"
    assert (facts["device"], facts["dtype"]) == ("cpu", "float32")
    assert facts["controlnet"] == "the model's own"


@pytest.mark.parametrize("kernel", ["math", "flash"])
def test_another_attention_kernel_gives_nearly_the_same_picture(
    kernel: str, make_renderer: Callable[..., SD15Renderer], make_request: Request
) -> None:
    request = make_request(CAT, DOG)
    native = pixels(make_renderer(), request).astype(int)
    other = pixels(make_renderer(attention_backend=kernel), request).astype(int)
    assert np.abs(native - other).max() <= 2


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_libraries_below_print_nothing(
    dtype: str, pipeline_folder: Path, make_request: Request
) -> None:
    """In a process of its own, since what an import prints is printed once."""
    script = (
        "import sys\n"
        "from threedis_sd.sd15 import SD15Options, SD15Renderer\n"
        "options = SD15Options(model=sys.argv[1], dtype=sys.argv[2])\n"
        "SD15Renderer(options).load()\n"
    )
    command = [sys.executable, "-c", script, str(pipeline_folder), dtype]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
