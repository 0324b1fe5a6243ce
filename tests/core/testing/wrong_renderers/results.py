"""Wrong about what they return, and about what they tell of it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from threedis_core.plugin.interfaces import RenderResult
from threedis_core.plugin.progress import silent
from wrong_renderers.fakes import HookedFake, edited, with_changes


class OneResult(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render(requests, progress)[:1]


class GreyPictures(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [edited(result, image=result.image.convert("L")) for result in results]


class WrongSize(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [edited(result, image=result.image.resize((8, 8))) for result in results]


class CrashesAtOddSizes(HookedFake):
    """Its network halves the picture once more than its size multiple says."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        for request in requests:
            np.zeros((request.height, request.width)).reshape(request.height // 16, 16, -1)
        return super().render(requests, progress)


class RoundsSizes(HookedFake):
    """Draws the nearest size that its network likes."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        sizes = [(r.width // 16 * 16 or 16, r.height // 16 * 16 or 16) for r in requests]
        return [edited(r, image=r.image.resize(s)) for r, s in zip(results, sizes, strict=True)]


class Restless(HookedFake):
    """Draws from a generator that lives as long as the backend."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        self.calls = getattr(self, "calls", 0) + 1
        changed = [with_changes(request, seed=request.seed + self.calls) for request in requests]
        return super().render(changed, progress)


class Seedless(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render([with_changes(request, seed=0) for request in requests], progress)


class ForgetsOnClose(HookedFake):
    offset = 0

    def close(self) -> None:
        self.offset = 1

    def render(self, requests, progress=silent) -> list[RenderResult]:
        moved = [with_changes(request, seed=request.seed + self.offset) for request in requests]
        return super().render(moved, progress)


class WritesIntoDepth(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        requests[0].depth.values[0, 0] = 0.123
        return super().render(requests, progress)


class NoProgress(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render(requests)


class StopsShort(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        progress("render", 1, 5)
        return super().render(requests)


class SkipsSteps(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        progress("render", 5, 5)
        return super().render(requests)


class AlwaysItsOwnSteps(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render([with_changes(one, steps=None) for one in requests], progress)


class BadProvenance(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [edited(result, provenance={"model": object()}) for result in results]


class AlwaysHooked(HookedFake):
    """Changes the picture even when there is nothing to control."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [
            edited(result, image=Image.fromarray(255 - np.asarray(result.image)))
            for result in results
        ]


ONE_EACH = "test_each_request_gives_one_rgb_picture_of_its_size"
SIZES = "test_every_size_that_it_says_it_draws_can_be_drawn"
COUNTS = "test_progress_counts_up_to_the_end"
WRONG = [
    (OneResult, ONE_EACH),
    (GreyPictures, ONE_EACH),
    (WrongSize, ONE_EACH),
    (CrashesAtOddSizes, SIZES),
    (RoundsSizes, SIZES),
    (Restless, "test_the_same_seed_gives_the_same_picture"),
    (Seedless, "test_another_seed_gives_another_picture"),
    (ForgetsOnClose, "test_closing_and_rendering_again_gives_the_same_picture"),
    (WritesIntoDepth, "test_requests_are_left_as_they_were"),
    (NoProgress, COUNTS),
    (NoProgress, "test_two_interleaved_renders_do_not_disturb_each_other"),
    (NoProgress, "test_it_ends_at_the_step_at_which_progress_raises"),
    (StopsShort, COUNTS),
    (SkipsSteps, COUNTS),
    (AlwaysItsOwnSteps, "test_a_request_that_says_its_steps_gets_so_many"),
    (BadProvenance, "test_provenance_can_be_written_as_json"),
    (AlwaysHooked, "test_zero_instances_give_the_base_models_picture"),
    (AlwaysHooked, "test_all_controls_off_give_the_base_models_picture"),
]
