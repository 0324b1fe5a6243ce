"""What is wrong inside a real renderer, or with what it is asked, fails its suite.

A few of the kinds of faults that the suite's own tests try on a fake, here on a real small model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import threedis_diffusers.unet.attention
import threedis_sd.batch
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.regions import Regions
from threedis_diffusers.testing import DiffusersConformance
from threedis_diffusers.unet.attention import cross_attention_layers
from threedis_diffusers.unet.prompts import encode_batch
from threedis_sd.sd15 import SD15Options, SD15Renderer

step_callback = threedis_sd.batch.step_callback


class Suite(DiffusersConformance):
    """sd15's suite, with the backend that a test gives it."""

    plugin_module = "threedis_sd"
    backend: type[SD15Renderer] = SD15Renderer
    folder: Path

    def make_backend(self, **options: Any) -> SD15Renderer:
        fixed = {"steps": 2, "controlnet_prompt": None, "controlnet_negative_prompt": None}
        return self.backend(SD15Options(**{"model": str(self.folder), **fixed, **options}))


@pytest.fixture
def suite(pipeline_folder: Path) -> Suite:
    made = Suite()
    made.folder = pipeline_folder
    return made


def hooked_negatives(*args: Any, **kwargs: Any) -> Any:
    """Rows in which the negative prompt is an instance's."""
    text = encode_batch(*args, **kwargs)
    rows = text.rows.clone()
    rows[0] = rows[-1]
    return replace(text, rows=rows)


def joined(encode: Any, layouts: Any, *args: Any) -> Any:
    """Global prompts that have the instances' behind them."""
    longer = [
        layout.model_copy(
            update={"prompt": ", ".join([layout.prompt, *(i.prompt for i in layout.instances)])}
        )
        for layout in layouts
    ]
    return encode_batch(encode, longer, *args)


INSIDE = {
    "negative rows hooked": (
        (threedis_sd.batch, "encode_batch", hooked_negatives),
        "test_negative_rows_are_the_unhooked_ones_at_the_first_step",
    ),
    "negative rows hooked, seen in each layer": (
        (threedis_sd.batch, "encode_batch", hooked_negatives),
        "test_each_layer_that_reads_text_hears_each_instance_in_its_region",
    ),
    "texts joined to the global prompt": (
        (threedis_sd.batch, "encode_batch", joined),
        "test_the_global_text_does_not_depend_on_the_instances",
    ),
    "texts joined to the global prompt, controls off": (
        (threedis_sd.batch, "encode_batch", joined),
        "test_instances_texts_change_nothing_where_all_controls_are_off",
    ),
    "one layer unhooked": (
        (
            threedis_diffusers.unet.attention,
            "cross_attention_layers",
            lambda model: list(cross_attention_layers(model))[1:],
        ),
        "test_each_layer_that_reads_text_hears_each_instance_in_its_region",
    ),
    "the step never set": (
        (
            threedis_sd.batch,
            "step_callback",
            lambda pipeline, switch, on_step: step_callback(pipeline, lambda step: None, on_step),
        ),
        "test_controls_act_on_the_denoiser_at_their_steps_only",
    ),
}


@pytest.mark.parametrize(("patch", "check"), INSIDE.values(), ids=list(INSIDE))
def test_a_fault_in_the_hook_is_found(patch: Any, check: str, suite: Suite, monkeypatch) -> None:
    monkeypatch.setattr(*patch)
    with pytest.raises(AssertionError):
        getattr(suite, check)()


class Leaving(SD15Renderer):
    """Leaves something in the pipeline."""

    leave: Callable[[Any], object]

    def draw(self, loaded: Any, batch: Any, on_step: Any) -> Any:
        type(self).leave(loaded.pipeline)
        return super().draw(loaded, batch, on_step)


LEFT: dict[str, Callable[[Any], object]] = {
    "a hook in the VAE": lambda pipe: pipe.vae.decoder.register_forward_hook(lambda *_: None),
    "a switch of the VAE": lambda pipe: pipe.vae.encoder.train(),
    "a method of the VAE": lambda pipe: setattr(
        pipe.vae.decoder, "forward", pipe.vae.decoder.forward
    ),
    "a method of the scheduler": lambda pipe: setattr(pipe.scheduler, "step", pipe.scheduler.step),
    "a hook in the text encoder": lambda pipe: pipe.text_encoder.register_forward_pre_hook(
        lambda *_: None
    ),
}


@pytest.mark.parametrize("leave", LEFT.values(), ids=list(LEFT))
def test_a_patch_that_is_left_anywhere_is_found(leave: Any, suite: Suite) -> None:
    suite.backend = type("Leaves", (Leaving,), {"leave": staticmethod(leave), "name": "sd15"})
    with pytest.raises(AssertionError, match="leaves something in the model"):
        suite.test_nothing_is_left_in_the_model()


def masks_turned(turn: Callable[[np.ndarray], np.ndarray]) -> type[SD15Renderer]:
    """sd15 with the masks of each request, shape (N, H, W), made into others."""

    def changed(request: RenderRequest) -> RenderRequest:
        size = request.height, request.width
        masks = turn(request.regions.pixel_masks(*size).astype(np.bool_))
        regions = Regions(request.regions.boxes, tuple(masks.copy()), *size)
        return replace(request, regions=regions)

    class Turning(SD15Renderer):
        def render(self, requests: Any, *rest: Any) -> Any:
            return super().render([changed(request) for request in requests], *rest)

    return Turning


TURNED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "swapped": lambda masks: masks[[1, 0, *range(2, len(masks))]],
    "mirrored": lambda masks: masks[:, :, ::-1],
    "everywhere": lambda masks: np.ones_like(masks),
}


@pytest.mark.parametrize("turn", TURNED.values(), ids=list(TURNED))
def test_wrong_regions_are_seen_in_the_pictures_of_a_real_model(turn: Any, suite: Suite) -> None:
    suite.backend = masks_turned(turn)
    with pytest.raises(AssertionError, match="counts"):
        suite.test_each_instances_prompt_changes_its_own_region_most()


def test_a_batch_that_mixes_the_regions_of_its_requests_is_seen(suite: Suite) -> None:
    class Mixing(SD15Renderer):
        def render(self, requests: Any, *rest: Any) -> Any:
            regions = requests[0].regions
            return super().render([replace(one, regions=regions) for one in requests], *rest)

    suite.backend = Mixing
    with pytest.raises(AssertionError, match="from the one it gives alone"):
        suite.test_a_batch_keeps_requests_of_as_many_instances_apart()
