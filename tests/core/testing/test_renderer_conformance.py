"""The suite passes a right backend, and every check fails a backend that is wrong in its way."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core.errors import WeightsError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Capabilities, RenderRequest, RenderResult
from threedis_core.plugin.progress import Progress, silent
from threedis_core.testing import FakeRenderer, RendererConformance
from threedis_core.testing.fakes import FakeRendererOptions
from threedis_core.values.schedule import ControlSchedule


class HookedFake(FakeRenderer):
    """A fake with "attention processors": what is attached while it renders."""

    attached: str = "stock"

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        self.attached = "ours"
        try:
            return super().render(requests, progress)
        finally:
            self.attached = "stock"


class FakeSuite(RendererConformance):
    plugin_module = "threedis_core.refiners"
    backend: ClassVar[type[FakeRenderer]] = HookedFake

    def make_backend(self, **options: Any) -> FakeRenderer:
        return self.backend(self.backend.Options(**options))

    def attention_processors(self, backend: Any) -> object:
        return getattr(backend, "attached", None)

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        bare = copy.copy(request)
        object.__setattr__(bare, "control", ControlSchedule())
        return FakeRenderer(FakeRendererOptions()).render([bare])[0].image


class TestFakeRenderer(FakeSuite):
    """Every check passes, none is skipped."""


def edited(result: RenderResult, **changes: Any) -> RenderResult:
    return RenderResult(**{"image": result.image, "provenance": result.provenance, **changes})


class OddCapabilities(HookedFake):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(size_multiple=7, default_size=(64, 64))


class Fickle(HookedFake):
    """Can do more each time it is asked."""

    asked = 0

    @property
    def capabilities(self) -> Capabilities:
        self.asked += 1
        return Capabilities(default_size=(64, 64), max_instances=self.asked)


class LoadsToTell(HookedFake):
    @property
    def capabilities(self) -> Capabilities:
        self.model = torch.nn.Linear(2, 2)
        return super().capabilities


class LoadsToCheck(HookedFake):
    def check(self) -> None:
        self.model = torch.nn.Linear(2, 2)


class ChecksAndComplains(HookedFake):
    """Refuses the options with which it renders."""

    def check(self) -> None:
        raise WeightsError("there are none")


class TripsOverItsCheck(HookedFake):
    def check(self) -> None:
        raise FileNotFoundError("model.safetensors")


class AlwaysIll(HookedFake):
    def inspect(self) -> Inspection:
        return Inspection(problems=("it has a headache",))


class WordsOnly(HookedFake):
    def inspect(self) -> Any:
        return "all is well"


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


class FirstLayoutForAll(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        first = requests[0]
        changed = [with_changes(r, layout=first.layout, regions=first.regions) for r in requests]
        return super().render(changed, progress)


class NeverRestores(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        self.attached = "ours" if len(requests[0].layout.instances) else "stock"
        return results


class NotAfterAnException(FakeRenderer):
    attached = "stock"

    def render(self, requests, progress=silent) -> list[RenderResult]:
        self.attached = "ours"
        results = super().render(requests, progress)
        self.attached = "stock"
        return results


class SpoiltByAnException(HookedFake):
    offset = 0

    def render(self, requests, progress=silent) -> list[RenderResult]:
        moved = [with_changes(request, seed=request.seed + self.offset) for request in requests]
        self.offset = 1
        results = super().render(moved, progress)
        self.offset = 0
        return results


class SharesAState(HookedFake):
    """Keeps the request it works on where every instance of the class sees it."""

    current: ClassVar[list[RenderRequest]] = []

    def render(self, requests, progress=silent) -> list[RenderResult]:
        type(self).current[:] = requests
        super().render(requests, progress)
        return super().render(list(self.current[: len(requests)]))


class NoProgress(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render(requests)


class StopsShort(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        progress("render", 1, 5)
        return super().render(requests)


class GoesOnAfterAll(HookedFake):
    """Holds what progress raises for a fault of the progress."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        def told(stage: str, done: int, total: int) -> None:
            with suppress(Exception):
                progress(stage, done, total)

        return super().render(requests, told)


class RenamesWhatProgressRaises(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        try:
            return super().render(requests, progress)
        except Exception as error:
            raise ValueError("the scheduler failed") from error


class StopsLate(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        with suppress(Exception):
            progress("render", 1, 2)
        progress("render", 2, 2)
        return super().render(requests)


class SkipsSteps(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        progress("render", 5, 5)
        return super().render(requests)


class AlwaysHooked(HookedFake):
    """Changes the picture even when there is nothing to control."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [
            edited(result, image=Image.fromarray(255 - np.asarray(result.image)))
            for result in results
        ]


class NeverHooked(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        off = [with_changes(request, control=ControlSchedule()) for request in requests]
        return super().render(off, progress)


class AlwaysItsOwnSteps(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return super().render([with_changes(one, steps=None) for one in requests], progress)


class BadProvenance(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [edited(result, provenance={"model": object()}) for result in results]


class LooseOptions(FakeRendererOptions):
    model_config = {"extra": "allow"}  # noqa: RUF012


class AnyOption(HookedFake):
    Options = LooseOptions

    def __init__(self, options: Any) -> None:
        super().__init__(options)

    @property
    def capabilities(self) -> Capabilities:
        return super().capabilities


class TakesAnything(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        return [RenderResult(Image.new("RGB", (r.width, r.height))) for r in requests]


def with_changes(request: RenderRequest, **changes: Any) -> RenderRequest:
    changed = copy.copy(request)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


BROKEN = [
    (OddCapabilities, "test_capabilities_are_known_without_weights"),
    (Fickle, "test_capabilities_are_known_without_weights"),
    (LoadsToTell, "test_capabilities_are_known_without_weights"),
    (LoadsToCheck, "test_check_loads_nothing_and_raises_only_our_errors"),
    (ChecksAndComplains, "test_check_loads_nothing_and_raises_only_our_errors"),
    (TripsOverItsCheck, "test_check_loads_nothing_and_raises_only_our_errors"),
    (AlwaysIll, "test_what_is_needed_is_known_without_weights"),
    (WordsOnly, "test_what_is_needed_is_known_without_weights"),
    (OneResult, "test_each_request_gives_one_rgb_picture_of_its_size"),
    (GreyPictures, "test_each_request_gives_one_rgb_picture_of_its_size"),
    (WrongSize, "test_each_request_gives_one_rgb_picture_of_its_size"),
    (Restless, "test_the_same_seed_gives_the_same_picture"),
    (Seedless, "test_another_seed_gives_another_picture"),
    (ForgetsOnClose, "test_closing_and_rendering_again_gives_the_same_picture"),
    (WritesIntoDepth, "test_requests_are_left_as_they_were"),
    (FirstLayoutForAll, "test_a_picture_of_a_batch_is_the_one_it_gives_alone"),
    (NeverRestores, "test_processors_are_restored_after_success"),
    (NotAfterAnException, "test_processors_are_restored_after_an_exception"),
    (SpoiltByAnException, "test_an_exception_in_the_middle_leaves_no_trace"),
    (SharesAState, "test_two_interleaved_renders_do_not_disturb_each_other"),
    (NoProgress, "test_two_interleaved_renders_do_not_disturb_each_other"),
    (NoProgress, "test_it_ends_at_the_step_at_which_progress_raises"),
    (GoesOnAfterAll, "test_it_ends_at_the_step_at_which_progress_raises"),
    (RenamesWhatProgressRaises, "test_it_ends_at_the_step_at_which_progress_raises"),
    (StopsLate, "test_it_ends_at_the_step_at_which_progress_raises"),
    (SkipsSteps, "test_progress_counts_up_to_the_end"),
    (AlwaysHooked, "test_zero_instances_give_the_base_models_picture"),
    (AlwaysHooked, "test_all_controls_off_give_the_base_models_picture"),
    (NeverHooked, "test_the_controls_have_an_effect"),
    (NoProgress, "test_progress_counts_up_to_the_end"),
    (StopsShort, "test_progress_counts_up_to_the_end"),
    (AlwaysItsOwnSteps, "test_a_request_that_says_its_steps_gets_so_many"),
    (BadProvenance, "test_provenance_can_be_written_as_json"),
    (AnyOption, "test_an_unknown_option_is_refused"),
    (TakesAnything, "test_a_size_that_does_not_fit_is_refused_before_loading"),
    (TakesAnything, "test_too_many_instances_are_refused_before_loading"),
    (TakesAnything, "test_an_unknown_control_is_refused_before_loading"),
]


@pytest.mark.parametrize(("backend", "check"), BROKEN)
def test_a_check_fails_a_backend_that_is_wrong_in_its_way(backend, check) -> None:
    suite = FakeSuite()
    suite.backend = backend
    broken = (AssertionError, pytest.fail.Exception, TypeError, WeightsError, FileNotFoundError)
    with pytest.raises(broken):
        getattr(suite, check)()


def test_discovery_that_imports_torch_fails_its_check(tmp_path, monkeypatch) -> None:
    (tmp_path / "heavy_plugin.py").write_text(
        "import sys, types\nsys.modules['torch'] = types.ModuleType('torch')\n"
        "from threedis_core.refiners import threedis_register_region_refiners\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    suite = FakeSuite()
    suite.plugin_module = "heavy_plugin"
    with pytest.raises(AssertionError, match="imports torch"):
        suite.test_discovery_imports_no_model_library()
    suite.plugin_module = "no_such_plugin"
    with pytest.raises(AssertionError, match="cannot be registered"):
        suite.test_discovery_imports_no_model_library()


def test_every_check_has_a_backend_that_fails_it() -> None:
    checks = {name for name in dir(RendererConformance) if name.startswith("test_")}
    tried = {check for _, check in BROKEN} | {"test_discovery_imports_no_model_library"}
    assert tried == checks


def test_the_fakes_draw_and_need_no_model_library() -> None:
    result = FakeRenderer(FakeRendererOptions()).render([FakeSuite().request()])[0]
    assert result.image.size == (64, 64)
    assert json.dumps(dict(result.provenance)) == '{"fake": true}'
