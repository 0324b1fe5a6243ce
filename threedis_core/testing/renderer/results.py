"""Checks of what a render returns and tells, by seed, size and number of steps."""

from __future__ import annotations

import json

import pytest

from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.testing.renderer.suite import RendererSuite, picture, pictures, same


class ResultChecks(RendererSuite):
    """One RGB picture of its size for each request, always the same one."""

    def test_each_request_gives_one_rgb_picture_of_its_size(self) -> None:
        requests = [self.request(), self.request(seed=1)]
        results = self.make_backend().render(requests)
        assert len(results) == len(requests), f"{len(results)} results for {len(requests)} requests"
        for request, result in zip(requests, results, strict=True):
            assert result.image.mode == "RGB", f"mode {result.image.mode}, expected RGB"
            assert result.image.size == (request.width, request.height), "the size is wrong"

    def test_every_size_that_it_says_it_draws_can_be_drawn(self) -> None:
        backend = self.make_backend()
        for size in sorted(_advertised(backend.capabilities)):
            try:
                result = backend.render([self.scene(size=size)])[0]
            except Exception as error:
                raise AssertionError(
                    f"a picture of {size[0]}x{size[1]} pixels, which capabilities allow, fails: "
                    f"{error!r}"
                ) from error
            assert result.image.size == size, f"asked for {size}, it draws {result.image.size}"

    def test_the_same_seed_gives_the_same_picture(self) -> None:
        backend = self.make_backend()
        first, again = (picture(backend, self.request(seed=5)) for _ in range(2))
        assert same(first, again), "the same seed gave another picture"

    def test_another_seed_gives_another_picture(self) -> None:
        requests = [self.request(seed=5), self.request(seed=6)]
        first, other = pictures(self.make_backend(), requests)
        assert not same(first, other), "two seeds gave the same picture"

    def test_closing_and_rendering_again_gives_the_same_picture(self) -> None:
        backend = self.make_backend()
        first = picture(backend, self.request())
        backend.close()
        assert same(first, picture(backend, self.request()))

    def test_requests_are_left_as_they_were(self) -> None:
        request = self.request()
        # Writable, so that a backend that writes into it is found out by us, not by numpy.
        values = request.depth.values.copy()
        object.__setattr__(request.depth, "values", values)
        before = _snapshot(request)
        self.make_backend().render([request])
        assert before == _snapshot(request), "the backend changed its request"

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

        fewest = backend.capabilities.min_steps
        for steps in (fewest, fewest + 1):
            backend.render([self.request(steps=steps)], note)
        assert set(totals) == {fewest, fewest + 1}, (
            f"with {fewest} and with {fewest + 1} steps progress said {totals}; if there are none "
            "to choose, say Capabilities(steps=False), and if more are needed, min_steps"
        )

    def test_provenance_can_be_written_as_json(self) -> None:
        result = self.make_backend().render([self.request()])[0]
        json.dumps(dict(result.provenance), allow_nan=False)


def _advertised(able: Capabilities) -> set[tuple[int, int]]:
    """Sizes that a careless promise covers: beside the default one, the smallest, the largest."""
    if able.sizes:
        return set(able.sizes)
    (width, height), more = able.default_size, able.size_multiple
    # Odd multiples, which a second patching or a deeper network does not divide.
    sizes = {(width + more, height), (width, height + more), (more, more)}
    if (most := able.max_size) is None:
        return sizes | {(width + more, height + more)}
    largest = (most[0] // more * more, most[1] // more * more)
    return {size for size in sizes if size[0] <= most[0] and size[1] <= most[1]} | {largest}


def _snapshot(request: RenderRequest) -> tuple[object, ...]:
    return (
        json.dumps(request.layout.to_dict()),
        request.depth.values.tobytes(),
        request.regions.pixel_masks(request.height, request.width).tobytes(),
        (request.seed, request.width, request.height, request.steps, request.guidance),
    )
