"""Checks that whatever a request says has its effect, and nothing else has one.

Each varies one thing alone.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from threedis_core.testing.renderer.scenes import (
    NEGATIVE,
    OTHER_PROMPT,
    OTHERS,
    PROMPTS,
    planes,
    turned,
)
from threedis_core.testing.renderer.suite import RendererSuite, picture, same
from threedis_core.values.depth import DepthMap
from threedis_core.values.schedule import ControlSchedule, StepRange


class EffectChecks(RendererSuite):
    """What a request says is done."""

    def test_the_prompt_has_an_effect(self) -> None:
        backend = self.make_backend()
        one, other = (
            picture(backend, self.scene(prompts=(), prompt=text))
            for text in ("solids on a floor", OTHER_PROMPT)
        )
        assert not same(one, other), "another prompt gave the same picture"

    def test_the_depth_has_an_effect(self) -> None:
        backend, depth = self.make_backend(), planes(*self.capabilities().default_size)
        one, other = (picture(backend, self.scene(depth=d)) for d in (depth, turned(depth)))
        assert not same(one, other), (
            "another depth map gave the same picture: depth is not read, or the model hardly "
            "heeds it (a new ControlNet's last layers are zero)"
        )

    def test_a_depth_map_of_another_size_is_resized(self) -> None:
        width, height = self.capabilities().default_size
        half = planes(width, height).resize(width // 2, height // 2)
        by_hand = DepthMap(half.resize(width, height).values)
        backend = self.make_backend()
        one, other = (picture(backend, self.scene(depth=depth)) for depth in (half, by_hand))
        assert np.abs(one - other).max() <= self.tolerance, (
            "a depth map of half the size gave another picture than itself resized"
        )

    def test_the_negative_prompt_has_an_effect_where_there_is_one(self) -> None:
        backend = self.make_backend()
        without, with_it = (
            picture(backend, self.scene(negative_prompt=text)) for text in ("", NEGATIVE)
        )
        if self.capabilities().negative_prompt:
            assert not same(without, with_it), "the negative prompt has no effect"
        else:
            assert same(without, with_it), "it has an effect, though capabilities say there is none"

    def test_the_guidance_of_a_request_has_an_effect(self) -> None:
        self.needs("guidance")
        default = self.capabilities().default_guidance
        assert default is not None, "capabilities say guidance, but no default_guidance"
        backend = self.make_backend()
        unsaid, said, other = (
            picture(backend, self.scene(guidance=scale))
            for scale in (None, float(default), default + 3.0)
        )
        assert same(unsaid, said), "without guidance in the request, it is not default_guidance"
        assert not same(said, other), "the guidance of a request is not used"

    def test_the_steps_of_a_request_have_an_effect(self) -> None:
        self.needs("steps")
        backend, default = self.make_backend(), self.capabilities().default_steps
        unsaid, said, other = (
            picture(backend, self.scene(steps=steps)) for steps in (None, default, default + 1)
        )
        assert same(unsaid, said), "without steps in the request, there are not default_steps"
        assert not same(said, other), "one step more gave the same picture"

    def test_the_controls_have_an_effect(self) -> None:
        self.needs("controls")
        backend = self.make_backend()
        on, off = (picture(backend, self.scene(control=c)) for c in (None, ControlSchedule()))
        difference = np.abs(on - off).max()
        assert difference > 3 * self.tolerance, (
            f"with all controls off the picture differs by {difference}/255 only; a tolerance of "
            f"{self.tolerance} could hide every fault"
        )

    def test_each_control_has_an_effect_of_its_own(self) -> None:
        self.needs("controls")
        names = sorted(self.capabilities().controls)
        backend = self.make_backend()
        alone = {name: ControlSchedule({name: StepRange()}) for name in names}
        schedules = {**alone, "all of them": self.all_on()} if len(names) > 1 else alone
        drawn = {
            name: picture(backend, self.scene(control=control))
            for name, control in schedules.items()
        }
        for one, other in combinations(drawn, 2):
            assert not same(drawn[one], drawn[other]), f"'{one}' acts exactly like '{other}'"

    def test_a_control_is_on_at_the_steps_that_its_schedule_says(self) -> None:
        self.needs("controls")
        able, backend = self.capabilities(), self.make_backend()
        last = self.steps() if able.steps else able.default_steps
        if last < 2:
            pytest.skip("there is only one step")
        given: dict[str, Any] = {"steps": last} if able.steps else {}
        if able.guidance and able.default_guidance is not None:
            given["guidance"] = 4 * able.default_guidance  # the last step changes little else
        none, all_, first, rest, after = (
            picture(backend, self.scene(control=control, **given))
            for control in (
                ControlSchedule(),
                self.all_on(),
                self.all_on(0, 1),
                self.all_on(1),
                self.all_on(last),
            )
        )
        assert same(after, none), f"a control from step {last} on acts, of {last} steps"
        assert not same(first, none), "a control that is on at the first step only does nothing"
        assert not same(first, all_), "a control that ends after the first step goes on"
        assert not same(rest, all_), "a control that begins with the second step is on before"
        assert not same(rest, none), "a control that begins with the second step never does"

    def test_instances_change_nothing_where_all_controls_are_off(self) -> None:
        """Neither their prompts nor that there are any."""
        backend, off = self.make_backend(), ControlSchedule()
        some, others, none = (
            picture(backend, self.scene(prompts=prompts[: self.instances(4)], control=off))
            for prompts in (PROMPTS, OTHERS, ())
        )
        plain = picture(backend, self.scene(prompts=()))
        assert same(some, others), (
            "with all controls off the instances' prompts change the picture; are they joined to "
            "the global one?"
        )
        assert same(some, none), "with all controls off the number of instances changes the picture"
        assert same(plain, none), (
            "without instances the picture is another one than with all controls off"
        )
