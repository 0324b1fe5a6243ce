"""Stable Diffusion 1.5 at its own size: the hook off is the stock pipeline, on it costs little."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from threedis_core import load_plugins
from threedis_core.testing.samples import sample_request
from threedis_core.values.schedule import ControlSchedule
from threedis_sd.backend import UNetRenderer

STEPS = 2
SMALL = (256, 256)
MOST_GB = 8.0


@pytest.fixture(scope="module")
def renderer(sd15_folder: Path) -> Iterator[UNetRenderer]:
    own = {"controlnet_prompt": None, "controlnet_negative_prompt": None}  # as the stock one reads
    options = {"model": str(sd15_folder), "steps": STEPS, "device": "cpu", **own}
    made = load_plugins().renderer("sd15", options)
    assert isinstance(made, UNetRenderer)
    yield made
    made.close()


@pytest.fixture
def stock_picture(
    renderer: UNetRenderer, benchmark: Callable[[str], ModuleType]
) -> Callable[..., np.ndarray]:
    """What the very same loaded pipeline makes of a request on its own."""

    def render(request: Any) -> np.ndarray:
        pipeline = renderer.load().pipeline
        arguments = benchmark("bench_hook").stock_arguments(renderer, pipeline, request, {})
        pictures = pipeline(
            request.layout.prompt,
            **arguments,
            width=request.width,
            height=request.height,
            num_inference_steps=STEPS,
            guidance_scale=renderer.options.guidance,
            generator=torch.Generator().manual_seed(request.seed),
        )
        return np.asarray(pictures.images[0])

    return render


def test_the_hook_off_is_the_stock_pipeline_bit_for_bit_and_on_it_leaves_no_trace(
    renderer: UNetRenderer, stock_picture: Callable[..., np.ndarray]
) -> None:
    on = sample_request(3, size=SMALL)
    off = sample_request(3, size=SMALL, control=ControlSchedule())
    hooked = np.asarray(renderer.render([on])[0].image)
    expected = stock_picture(on)
    assert expected.std() > 1  # a picture, not one colour
    assert not np.array_equal(hooked, expected)
    assert np.array_equal(np.asarray(renderer.render([off])[0].image), expected)
    assert np.array_equal(np.asarray(renderer.render([on])[0].image), hooked)


def test_instances_of_a_layout_with_the_hook_off_are_as_good_as_absent(
    renderer: UNetRenderer,
) -> None:
    hidden = sample_request(3, size=SMALL, control=ControlSchedule())
    absent = replace(sample_request(0, size=SMALL), depth=hidden.depth)
    pictures = [np.asarray(renderer.render([one])[0].image) for one in (absent, hidden)]
    assert np.array_equal(*pictures)


def test_what_a_step_costs_and_how_much_memory_is_taken(
    renderer: UNetRenderer,
    benchmark: Callable[[str], ModuleType],
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = benchmark("bench_hook").measure(renderer, sample_request(4, size=(512, 512)), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gigabytes = peak * (1 if sys.platform == "darwin" else 1024) / 1e9
    with capsys.disabled():
        print(
            f"\nSD1.5, 512 px, N = 4: step {row['stock_step_ms'] / 1e3:.1f} s stock, "
            f"{row['hook_step_ms'] / 1e3:.1f} s hook, ratio {row['step_ratio']:.3f}; "
            f"peak memory {gigabytes:.1f} GB"
        )
    assert 0 < gigabytes < MOST_GB
