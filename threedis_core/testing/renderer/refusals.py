"""Checks that what cannot be served is refused before anything is loaded."""

from __future__ import annotations

import pytest

from threedis_core.errors import InputError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.checks import check_unknown_option_is_refused
from threedis_core.testing.renderer.suite import RendererSuite
from threedis_core.testing.samples import sample_request
from threedis_core.values.schedule import ControlSchedule, StepRange


class RefusalChecks(RendererSuite):
    """Bad input is an ``InputError``, whatever weights there are."""

    def test_an_unknown_option_is_refused(self) -> None:
        check_unknown_option_is_refused(type(self.make_backend()).Options)

    def test_a_size_that_does_not_fit_is_refused_before_loading(self) -> None:
        able = self.make_backend_without_weights().capabilities
        if able.size_multiple == 1 and able.max_size is None and not able.sizes:
            pytest.skip("every size fits")
        (width, height), most = able.default_size, able.max_size
        wrong = [] if able.size_multiple == 1 else [(width + 1, height), (width, height + 1)]
        if most is not None:
            more = able.size_multiple
            wrong += [(most[0] + more, height), (width, most[1] + more)]
        if able.sizes:
            widest = max(able.sizes)
            wrong.append((widest[0] + able.size_multiple, widest[1]))
        for size in wrong:
            self._refused(sample_request(size=size), f"a size of {size[0]}x{size[1]}")

    def test_too_many_instances_are_refused_before_loading(self) -> None:
        able = self.make_backend_without_weights().capabilities
        if able.max_instances is None:
            pytest.skip("there is no limit")
        count = able.max_instances + 1
        self._refused(sample_request(count, size=able.default_size), f"{count} instances")

    def test_an_unknown_control_is_refused_before_loading(self) -> None:
        control = ControlSchedule({"no-such-control": StepRange()})
        self._refused(self.request(self.instances(2), control=control), "an unknown control")

    def test_settings_that_it_does_not_have_are_refused_before_loading(self) -> None:
        able = self.make_backend_without_weights().capabilities
        self._refused(self.scene(steps=0), "0 steps")
        self._refused(self.scene(guidance=-1.0), "a guidance of -1")
        if not able.steps:
            self._refused(self.scene(steps=able.default_steps), "a number of steps")
        elif able.min_steps > 1:
            self._refused(self.scene(steps=able.min_steps - 1), "too few steps")
        if not able.guidance:
            self._refused(self.scene(guidance=2.0), "a guidance scale")

    def _refused(self, request: RenderRequest, what: str) -> None:
        try:
            self.make_backend_without_weights().render([request])
        except InputError:
            return
        except Exception as error:
            raise AssertionError(f"{what} gave {error!r}; expected an InputError") from error
        raise AssertionError(f"{what} was not refused; call check_request first")
