"""The tests that every renderer must pass. Subclass ``RendererConformance`` in a test file.

class TestMine(RendererConformance):
    plugin_module = "my_plugin"

    def make_backend(self, **options):
        return MyRenderer(MyRenderer.Options(model=TINY, **options))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from threedis_core.errors import InputError, ThreeDISError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Capabilities, RenderBackend, RenderRequest
from threedis_core.testing.checks import (
    check_discovery_is_light,
    check_it_ends_where_progress_raises,
    check_nothing_is_loaded,
    check_unknown_option_is_refused,
)
from threedis_core.testing.samples import sample_request
from threedis_core.values.schedule import ControlSchedule, StepRange


class MidRunError(Exception):
    """What the suite raises in the middle of a run."""


class RendererConformance:
    """What every renderer promises; each method that starts with ``test_`` is one check.

    Args:
        plugin_module: The module your entry point names.
        tolerance: How far a picture of a batch may be from the same picture alone, of 255.
    """

    plugin_module: ClassVar[str]
    tolerance: ClassVar[int] = 2

    def make_backend(self, **options: Any) -> RenderBackend:
        """Make the backend under test, small and fast; must be overridden."""
        raise NotImplementedError

    def make_backend_without_weights(self) -> RenderBackend:
        """Make one that could not load anything; override if your backend loads weights."""
        return self.make_backend()

    def attention_processors(self, backend: RenderBackend) -> object:
        """A comparable snapshot of the loaded model's processors; None if it has none."""
        return None

    def base_model_picture(self, request: RenderRequest) -> Image.Image | None:
        """The base model's own picture of a request, without any hook; None skips the check."""
        return None

    def request(self, instances: int = 2, seed: int = 0, **changes: Any) -> RenderRequest:
        """A request of the backend's default size."""
        changes.setdefault("size", self.make_backend().capabilities.default_size)
        return sample_request(instances, seed, **changes)

    def test_capabilities_are_known_without_weights(self) -> None:
        backend = self.make_backend_without_weights()
        with check_nothing_is_loaded("capabilities"):
            capabilities = backend.capabilities
        assert isinstance(capabilities, Capabilities), f"got {capabilities!r}"
        assert backend.capabilities == capabilities, "asked again, the answer is another one"
        assert capabilities.size_multiple >= 1
        for side in capabilities.default_size:
            assert side > 0
            assert side % capabilities.size_multiple == 0, "default_size breaks size_multiple"

    def test_what_is_needed_is_known_without_weights(self) -> None:
        for backend in (self.make_backend(), self.make_backend_without_weights()):
            found = backend.inspect()
            assert isinstance(found, Inspection), f"got {found!r}"
            json.dumps(asdict(found))
        assert self.make_backend().inspect().ready, "a backend that can render says it cannot"

    def test_check_loads_nothing_and_raises_only_our_errors(self) -> None:
        backend = self.make_backend()
        with check_nothing_is_loaded("check()"):
            backend.check()  # it can render, so there is nothing to complain about
        with suppress(ThreeDISError), check_nothing_is_loaded("check()"):
            self.make_backend_without_weights().check()

    def test_each_request_gives_one_rgb_picture_of_its_size(self) -> None:
        requests = [self.request(), self.request(seed=1)]
        results = self.make_backend().render(requests)
        assert len(results) == len(requests), f"{len(results)} results for {len(requests)} requests"
        for request, result in zip(requests, results, strict=True):
            assert result.image.mode == "RGB", f"mode {result.image.mode}, expected RGB"
            assert result.image.size == (request.width, request.height), "the size is wrong"

    def test_the_same_seed_gives_the_same_picture(self) -> None:
        backend = self.make_backend()
        first, again = (_pixels(backend, [self.request(seed=5)])[0] for _ in range(2))
        assert np.array_equal(first, again), "the same seed gave another picture"

    def test_another_seed_gives_another_picture(self) -> None:
        first, other = _pixels(self.make_backend(), [self.request(seed=5), self.request(seed=6)])
        assert not np.array_equal(first, other), "two seeds gave the same picture"

    def test_closing_and_rendering_again_gives_the_same_picture(self) -> None:
        backend = self.make_backend()
        first = _pixels(backend, [self.request()])[0]
        backend.close()
        assert np.array_equal(first, _pixels(backend, [self.request()])[0])

    def test_requests_are_left_as_they_were(self) -> None:
        request = self.request()
        # Writable, so that a backend that writes into it is found out by us, not by numpy.
        values = request.depth.values.copy()
        object.__setattr__(request.depth, "values", values)
        before = _snapshot(request)
        self.make_backend().render([request])
        assert before == _snapshot(request), "the backend changed its request"

    def test_a_picture_of_a_batch_is_the_one_it_gives_alone(self) -> None:
        requests = self._mixed_batch()
        together = _pixels(self.make_backend(), requests)
        for index, request in enumerate(requests):
            alone = _pixels(self.make_backend(), [request])[0]
            difference = np.abs(alone.astype(int) - together[index].astype(int)).max()
            assert difference <= self.tolerance, (
                f"picture {index} differs by {difference}/255 from the one it gives alone"
            )

    def test_processors_are_restored_after_success(self) -> None:
        backend, before = self._loaded()
        backend.render([self.request()])
        assert self.attention_processors(backend) == before, "processors were not restored"

    def test_processors_are_restored_after_an_exception(self) -> None:
        backend, before = self._loaded()
        with pytest.raises(MidRunError):
            backend.render([self.request()], _raise_in_the_middle)
        assert self.attention_processors(backend) == before, "processors were not restored"

    def test_an_exception_in_the_middle_leaves_no_trace(self) -> None:
        backend, request = self.make_backend(), self.request()
        expected = _pixels(self.make_backend(), [request])[0]
        with pytest.raises(MidRunError):
            backend.render([self.request(instances=3, seed=9)], _raise_in_the_middle)
        assert np.array_equal(expected, _pixels(backend, [request])[0]), (
            "after an exception the backend renders another picture"
        )

    def test_it_ends_at_the_step_at_which_progress_raises(self) -> None:
        check_it_ends_where_progress_raises(
            lambda progress: self.make_backend().render([self.request()], progress)
        )

    def test_two_interleaved_renders_do_not_disturb_each_other(self) -> None:
        outer_request, inner_request = self.request(instances=2, seed=1), self.request(3, seed=2)
        outer, inner = self.make_backend(), self.make_backend()
        expected_outer = _pixels(self.make_backend(), [outer_request])[0]
        expected_inner = _pixels(self.make_backend(), [inner_request])[0]
        inside: list[NDArray[np.uint8]] = []

        def render_another(stage: str, done: int, total: int) -> None:
            if not inside:
                inside.extend(_pixels(inner, [inner_request]))

        outside = outer.render([outer_request], render_another)[0].image
        assert inside, "the backend never called progress"
        assert np.array_equal(expected_inner, inside[0]), "the inner picture was disturbed"
        assert np.array_equal(expected_outer, np.asarray(outside)), "the outer one was disturbed"

    def test_zero_instances_give_the_base_models_picture(self) -> None:
        self._equals_base_model(self.request(instances=0))

    def test_all_controls_off_give_the_base_models_picture(self) -> None:
        self._equals_base_model(self.request(control=ControlSchedule()))

    def test_the_controls_have_an_effect(self) -> None:
        backend = self.make_backend()
        if not backend.capabilities.controls:
            pytest.skip("the backend has no controls")
        on, off = _pixels(backend, [self.request(), self.request(control=ControlSchedule())])
        assert not np.array_equal(on, off), "the picture is the same with all controls off"

    def test_progress_counts_up_to_the_end(self) -> None:
        rendering: list[tuple[int, int]] = []

        def note(stage: str, done: int, total: int) -> None:
            if stage == "render":
                rendering.append((done, total))

        self.make_backend().render([self.request()], note)
        assert rendering, "progress was never called with the stage 'render'"
        total = rendering[0][1]
        assert rendering == [(done, total) for done in range(1, total + 1)], (
            f"progress said {rendering}; expected every step of {total}, one after another"
        )

    def test_a_request_that_says_its_steps_gets_so_many(self) -> None:
        backend = self.make_backend()
        if not backend.capabilities.steps:
            pytest.skip("the backend has no steps to choose")
        totals: list[int] = []

        def note(stage: str, done: int, total: int) -> None:
            if stage == "render":
                totals.append(total)

        for steps in (1, 2):
            backend.render([self.request(steps=steps)], note)
        assert set(totals) == {1, 2}, (
            f"with 1 and with 2 steps progress said {totals}; if there are none to choose, say "
            "Capabilities(steps=False)"
        )

    def test_provenance_can_be_written_as_json(self) -> None:
        result = self.make_backend().render([self.request()])[0]
        json.dumps(dict(result.provenance))

    def test_an_unknown_option_is_refused(self) -> None:
        check_unknown_option_is_refused(type(self.make_backend()).Options)

    def test_a_size_that_does_not_fit_is_refused_before_loading(self) -> None:
        backend = self.make_backend_without_weights()
        multiple = backend.capabilities.size_multiple
        if multiple == 1:
            pytest.skip("every size fits")
        width, height = backend.capabilities.default_size
        with pytest.raises(InputError):
            backend.render([sample_request(size=(width + 1, height))])

    def test_too_many_instances_are_refused_before_loading(self) -> None:
        backend = self.make_backend_without_weights()
        limit = backend.capabilities.max_instances
        if limit is None:
            pytest.skip("there is no limit")
        size = backend.capabilities.default_size
        with pytest.raises(InputError):
            backend.render([sample_request(limit + 1, size=size)])

    def test_an_unknown_control_is_refused_before_loading(self) -> None:
        control = ControlSchedule({"no-such-control": StepRange()})
        with pytest.raises(InputError):
            self.make_backend_without_weights().render([self.request(control=control)])

    def test_discovery_imports_no_model_library(self) -> None:
        check_discovery_is_light(self.plugin_module)

    def _mixed_batch(self) -> list[RenderRequest]:
        """Requests that differ in instance count, seed and size."""
        capabilities = self.make_backend().capabilities
        width, height = capabilities.default_size
        wider = (width + 8 * capabilities.size_multiple, height)
        return [
            self.request(instances=1, seed=1),
            self.request(instances=3, seed=2),
            self.request(instances=0, seed=3),
            self.request(instances=2, seed=4, size=wider),
        ]

    def _loaded(self) -> tuple[RenderBackend, object]:
        """A backend that has rendered once with nothing on, and its processors then."""
        backend = self.make_backend()
        backend.render([self.request(instances=0, control=ControlSchedule())])
        before = self.attention_processors(backend)
        if before is None:
            pytest.skip("the backend has no attention processors")
        return backend, before

    def _equals_base_model(self, request: RenderRequest) -> None:
        expected = self.base_model_picture(request)
        if expected is None:
            pytest.skip("base_model_picture is not overridden")
        picture = _pixels(self.make_backend(), [request])[0]
        assert np.array_equal(np.asarray(expected), picture), "the base model gives another picture"


def _pixels(backend: RenderBackend, requests: Sequence[RenderRequest]) -> list[NDArray[np.uint8]]:
    return [np.asarray(result.image) for result in backend.render(requests)]


def _snapshot(request: RenderRequest) -> tuple[object, ...]:
    return (
        json.dumps(request.layout.to_dict()),
        request.depth.values.tobytes(),
        request.regions.pixel_masks(request.height, request.width).tobytes(),
        (request.seed, request.width, request.height, request.steps, request.guidance),
    )


def _raise_in_the_middle(stage: str, done: int, total: int) -> None:
    if stage == "render" and 2 * done >= total:
        raise MidRunError
