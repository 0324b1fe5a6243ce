"""What is wrong inside the joint-attention hook fails the suite, exactly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

import threedis_core.attention.joint_phases as phases
import threedis_diffusers.joint.renderer as drawing
from threedis_core.attention import CONTROLS, JointPhase, lower
from threedis_diffusers.testing import DiffusersConformance
from threedis_flux.backend import FluxRenderer
from threedis_flux.hook import FluxHook
from threedis_flux.options import FluxOptions

enter, step_callback = FluxHook.enter, drawing.step_callback
OWN_REGION = "test_a_region_hears_no_other_prompt_at_the_first_step"
HIDDEN = "test_a_hidden_text_is_as_if_it_was_absent"


class Suite(DiffusersConformance):
    plugin_module = "threedis_flux"
    folder: Path

    def make_backend(self, **options: Any) -> FluxRenderer:
        fixed = {"steps": 2, "tokens_per_prompt": 12, "default_side": 64}
        return FluxRenderer(FluxOptions(**{"model": str(self.folder), **fixed, **options}))


def without(blocks: str) -> Callable[[FluxHook, JointPhase, ExitStack], None]:
    """Start a phase with the first block of a kind left out."""

    def begin(hook: FluxHook, phase: JointPhase, stack: ExitStack) -> None:
        enter(hook, phase, stack)
        getattr(hook.model, blocks)[0].attn.processor = FluxAttnProcessor()

    return begin


def never(control: str) -> Callable[..., Any]:
    """Carry out the plan without one of its rules."""
    return lambda plans, controls, *rest: lower(plans, controls - {control}, *rest)


def all_of_them(plans: Any, controls: frozenset[str], *rest: Any) -> Any:
    return lower(plans, frozenset(CONTROLS) if controls else controls, *rest)


INSIDE = {
    "a double block unhooked": ((FluxHook, "enter", without("transformer_blocks")), OWN_REGION),
    "a single block unhooked": (
        (FluxHook, "enter", without("single_transformer_blocks")),
        OWN_REGION,
    ),
    "images see each other": ((phases, "lower", never("i2i")), OWN_REGION),
    "images see all texts": ((phases, "lower", never("i2t")), OWN_REGION),
    "texts see all texts": ((phases, "lower", never("t2t")), HIDDEN),
    "any control acts like all": (
        (phases, "lower", all_of_them),
        "test_each_control_has_an_effect_of_its_own",
    ),
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
def test_a_fault_in_the_hook_is_found(
    patch: Any, check: str, pipeline_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*patch)
    suite = Suite()
    suite.folder = pipeline_folder
    with pytest.raises((AssertionError, KeyError)):  # a phase that never began has no lowering
        getattr(suite, check)()
