"""What is wrong inside an SD3.5 backend fails the suite, exactly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import threedis_core.attention.joint_phases as phases
import threedis_diffusers.joint.renderer as drawing
from threedis_core.attention import JointRow, TokenOrder, lower
from threedis_diffusers.joint.control import SeededLatents
from threedis_diffusers.joint.texts import Encoded
from threedis_diffusers.testing import DiffusersConformance
from threedis_sd35.backend import SD35Options, SD35Renderer

step_callback, encode = drawing.step_callback, SD35Renderer.encode
OWN_REGION = "test_a_region_hears_no_other_prompt_at_the_first_step"
HIDDEN = "test_a_hidden_text_is_as_if_it_was_absent"
NEGATIVE = "test_negative_rows_are_the_unhooked_ones_at_the_first_step"
ALONE = "test_a_picture_of_a_batch_is_the_one_it_gives_alone"
RANDOM = "test_no_random_generator_of_the_process_is_read_or_moved"


class Suite(DiffusersConformance):
    plugin_module = "threedis_sd35"
    folder: Path

    def make_backend(self, **options: Any) -> SD35Renderer:
        fixed = {"steps": 2, "guidance": 4.0, "tokens_per_prompt": 24, "default_side": 64}
        scale = {"controlnet_scale": 0.5}
        return SD35Renderer(SD35Options(**{"model": str(self.folder), **fixed, **scale, **options}))


def site(left_out: str) -> Callable[[SD35Renderer, str], Any]:
    """Leave an attention as it is whose name ends so."""

    def choose(renderer: SD35Renderer, name: str) -> Any:
        if name.endswith(left_out):
            return None
        return "image" if name.endswith("attn2") else "joint"

    return choose


def never(control: str) -> Callable[..., Any]:
    """Carry out the plan without one of its rules."""
    return lambda plans, controls, *rest: lower(plans, controls - {control}, *rest)


def hooked_negative(text: Any, grid: tuple[int, int]) -> JointRow:
    """A negative row that hears its own text once more, as an instance's in the left half."""
    left = np.zeros((1, *grid), np.bool_)
    left[:, :, : grid[1] // 2] = True
    return JointRow([text, text], left)


def pooled_of_all(renderer: Any, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
    """The instances' prompts joined to what is pooled of the global one."""
    found = encode(renderer, pipeline, prompts, tokens)
    assert found.pooled is not None
    return Encoded(found.hidden, found.pooled.mean(0, keepdim=True).expand_as(found.pooled))


def by_the_first(self: Any, generator: Any = None) -> Any:
    """All depth latents of a batch from the first seed's numbers."""
    numbers = torch.Generator().manual_seed(self.seeds[0])
    return self.stock.mean + self.stock.std * torch.randn(self.stock.mean.shape, generator=numbers)


INSIDE: dict[str, tuple[tuple[Any, str, Any], str]] = {
    "the second attention of each block unhooked": (
        (SD35Renderer, "site", site("attn2")),
        OWN_REGION,
    ),
    "the second attention of one block unhooked": (
        (SD35Renderer, "site", site("blocks.1.attn2")),
        OWN_REGION,
    ),
    "the joint attention of one block unhooked": (
        (SD35Renderer, "site", site("blocks.2.attn")),
        OWN_REGION,
    ),
    "images see each other": ((phases, "lower", never("i2i")), OWN_REGION),
    "images see all texts": ((phases, "lower", never("i2t")), OWN_REGION),
    "texts see all texts": ((phases, "lower", never("t2t")), HIDDEN),
    "negative rows hooked": ((JointRow, "unhooked", hooked_negative), NEGATIVE),
    "negative rows behind": ((SD35Renderer, "negative_rows", "after"), NEGATIVE),
    "text first": ((SD35Renderer, "order", TokenOrder()), OWN_REGION),
    "the instances pooled with the global prompt": (
        (SD35Renderer, "encode", pooled_of_all),
        HIDDEN,
    ),
    "depth latents from torch's own generator": (
        (SD35Renderer, "around", lambda *_: nullcontext()),
        RANDOM,
    ),
    "depth latents of a batch from one seed": ((SeededLatents, "sample", by_the_first), ALONE),
    "the step never set": (
        (
            drawing,
            "step_callback",
            lambda pipeline, switch, on_step: step_callback(pipeline, lambda step: None, on_step),
        ),
        "test_controls_act_on_the_denoiser_at_their_steps_only",
    ),
}


@pytest.mark.parametrize(("patch", "check"), INSIDE.values(), ids=list(INSIDE))
def test_a_fault_in_the_backend_is_found(
    patch: Any, check: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite()
    suite.folder = folder_of("medium")
    monkeypatch.setattr(*patch)
    # A phase that never began has no lowering.
    with pytest.raises((AssertionError, KeyError)):
        getattr(suite, check)()


@pytest.mark.parametrize("check", sorted({check for _, check in INSIDE.values()}))
def test_the_backend_without_a_fault_passes(check: str, folder_of: Callable[[str], Path]) -> None:
    suite = Suite()
    suite.folder = folder_of("medium")
    getattr(suite, check)()
