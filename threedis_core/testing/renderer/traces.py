"""Checks that a render leaves nothing behind: in the model, in the process, for the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import pytest

from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.testing.checks import check_it_ends_where_progress_raises
from threedis_core.testing.renderer.snapshot import (
    differences,
    generator_states,
    generators_seeded,
    traces,
)
from threedis_core.testing.renderer.suite import Pixels, RendererSuite, picture, same
from threedis_core.values.schedule import ControlSchedule


class MidRunError(Exception):
    """What the suite raises in the middle of a run."""


class TraceChecks(RendererSuite):
    """A model is as it was, after success and after an exception."""

    def load(self, backend: RenderBackend) -> None:
        """Load what the backend renders with; override where ``load()`` of yours does not."""
        load: object = getattr(backend, "load", None)
        if callable(load):
            load()
        else:
            backend.render([self.request(instances=0, control=ControlSchedule())])

    def test_processors_are_restored_after_success(self) -> None:
        backend, before = self._loaded()
        backend.render([self.request()])
        assert self.attention_processors(backend) == before, "processors were not restored"

    def test_processors_are_restored_after_an_exception(self) -> None:
        backend, before = self._loaded()
        with pytest.raises(MidRunError):
            backend.render([self.request()], _raise_in_the_middle)
        assert self.attention_processors(backend) == before, "processors were not restored"

    def test_nothing_is_left_in_the_model(self) -> None:
        self._check_model(lambda backend: picture(backend, self.request()))

    def test_nothing_is_left_in_the_model_after_an_exception(self) -> None:
        def fail(backend: RenderBackend) -> None:
            with pytest.raises(MidRunError):
                backend.render([self.request()], _raise_in_the_middle)

        self._check_model(fail)

    def test_no_random_generator_of_the_process_is_read_or_moved(self) -> None:
        drawn: list[Pixels] = []
        for seed in (1, 2):
            backend = self.make_backend()
            self.load(backend)
            with generators_seeded(seed):
                before = generator_states()
                drawn.append(picture(backend, self.request()))
                after = generator_states()
            for name, state in before.items():
                assert repr(_plain(state)) == repr(_plain(after[name])), (
                    f"a render moves the random generator of {name}, which others use; make one "
                    "of your own from the request's seed"
                )
        assert same(*drawn), (
            "the picture depends on a random generator of the whole process, not on its seed alone"
        )

    def test_an_exception_in_the_middle_leaves_no_trace(self) -> None:
        backend, request = self.make_backend(), self.request()
        expected = picture(self.make_backend(), request)
        with pytest.raises(MidRunError):
            backend.render([self.request(instances=3, seed=9)], _raise_in_the_middle)
        assert same(expected, picture(backend, request)), (
            "after an exception the backend renders another picture"
        )

    def test_it_ends_at_the_step_at_which_progress_raises(self) -> None:
        check_it_ends_where_progress_raises(
            lambda progress: self.make_backend().render([self.request()], progress)
        )

    def test_two_interleaved_renders_do_not_disturb_each_other(self) -> None:
        outer_request = self.request(instances=2, seed=1)
        inner_request = self.request(instances=3, seed=2)
        outer, inner = self.make_backend(), self.make_backend()
        expected_outer = picture(self.make_backend(), outer_request)
        expected_inner = picture(self.make_backend(), inner_request)
        inside: list[Pixels] = []

        def render_another(stage: str, done: int, total: int) -> None:
            if not inside:
                inside.append(picture(inner, inner_request))

        outside = outer.render([outer_request], render_another)[0].image
        assert inside, "the backend never called progress"
        assert same(expected_inner, inside[0]), "the inner picture was disturbed"
        assert np.array_equal(expected_outer, np.asarray(outside)), "the outer one was disturbed"

    def _loaded(self) -> tuple[RenderBackend, object]:
        """A backend, and its processors before it has rendered anything, if they are there then."""
        backend = self.make_backend()
        self.load(backend)
        before = self.attention_processors(backend)
        if before is None:
            pytest.skip("the backend has no attention processors")
        return backend, before

    def _check_model(self, work: Callable[[RenderBackend], object]) -> None:
        backend = self.make_backend()
        self.load(backend)
        before = traces(backend)
        if not before:
            pytest.skip("the backend holds no torch module")
        work(backend)
        left = differences(before, traces(backend))
        assert not left, f"a render leaves something in the model: {', '.join(left[:5])}"


def _plain(state: object) -> object:
    """A generator's state as something whose repr is all of it."""
    tolist = getattr(state, "tolist", None)
    if callable(tolist):
        return tolist()
    return [*map(_plain, cast("Iterable[object]", state))] if isinstance(state, tuple) else state


def _raise_in_the_middle(stage: str, done: int, total: int) -> None:
    if stage == "render" and 2 * done >= total:
        raise MidRunError
