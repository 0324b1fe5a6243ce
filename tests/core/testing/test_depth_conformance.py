"""The suite passes a right model, and every check fails a model that is wrong in its way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from threedis_core.errors import LayoutError
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.progress import silent
from threedis_core.testing import DepthModelConformance, FakeDepthModel, sample_layout
from threedis_core.testing.fakes import FakeDepthModelOptions
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


class FussyDepthModel(FakeDepthModel):
    """Takes at most four instances."""

    def generate(self, requests, progress=silent) -> list[DepthMap]:
        if any(len(request.layout.instances) > 4 for request in requests):
            raise LayoutError("more than 4 instances")
        return super().generate(requests, progress)


class FakeSuite(DepthModelConformance):
    plugin_module = "threedis_core.refiners"
    model: ClassVar[type[FakeDepthModel]] = FussyDepthModel

    def make_model(self, **options: Any) -> FakeDepthModel:
        return self.model(self.model.Options(**options))

    def unfit_layout(self) -> Layout:
        return sample_layout(5)


class TestFakeDepthModel(FakeSuite):
    """Every check passes, none is skipped."""


def changed(depth: DepthMap, values: np.ndarray) -> DepthMap:
    object.__setattr__(depth, "values", values)
    return depth


class OneMap(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        return super().generate(requests, progress)[:1]


class SquareOnly(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        square = [DepthRequest(r.layout, r.seed, r.width, r.width) for r in requests]
        return super().generate(square, progress)


class OutOfRange(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        maps = super().generate(requests, progress)
        return [changed(depth, depth.values * 3) for depth in maps]


class NotANumber(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        maps = super().generate(requests, progress)
        return [changed(depth, np.full_like(depth.values, np.nan)) for depth in maps]


class Doubles(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        maps = super().generate(requests, progress)
        return [changed(depth, depth.values.astype(np.float64)) for depth in maps]


class Arrays(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[Any]:
        return [depth.values for depth in super().generate(requests, progress)]


class Restless(FussyDepthModel):
    calls = 0

    def generate(self, requests, progress=silent) -> list[DepthMap]:
        self.calls += 1
        moved = [DepthRequest(r.layout, r.seed + self.calls, r.width, r.height) for r in requests]
        return super().generate(moved, progress)


class Flat(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        return [DepthMap(np.zeros((r.height, r.width), np.float32)) for r in requests]


class FirstForAll(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        return [super(FirstForAll, self).generate(requests[:1])[0] for _ in requests]


class WritesIntoLayout(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        object.__setattr__(requests[0].layout, "prompt", "mine")
        return super().generate(requests, progress)


class ForgetsOnClose(FussyDepthModel):
    offset = 0

    def close(self) -> None:
        self.offset = 1

    def generate(self, requests, progress=silent) -> list[DepthMap]:
        moved = [DepthRequest(r.layout, r.seed + self.offset, r.width, r.height) for r in requests]
        return super().generate(moved, progress)


class NoProgress(FussyDepthModel):
    def generate(self, requests, progress=silent) -> list[DepthMap]:
        return super().generate(requests)


class SpoiltByAnException(FussyDepthModel):
    offset = 0

    def generate(self, requests, progress=silent) -> list[DepthMap]:
        moved = [DepthRequest(r.layout, r.seed + self.offset, r.width, r.height) for r in requests]
        self.offset = 1
        maps = super().generate(moved, progress)
        self.offset = 0
        return maps


class LooseOptions(FakeDepthModelOptions):
    model_config = {"extra": "allow"}  # noqa: RUF012


class AnyOption(FussyDepthModel):
    Options = LooseOptions


class TakesAll(FakeDepthModel):
    """Draws even what it said it would refuse."""


BROKEN = [
    (OneMap, "test_each_request_gives_one_map_of_its_size"),
    (SquareOnly, "test_each_request_gives_one_map_of_its_size"),
    (OutOfRange, "test_values_are_finite_float32_in_range"),
    (NotANumber, "test_values_are_finite_float32_in_range"),
    (Doubles, "test_values_are_finite_float32_in_range"),
    (Arrays, "test_values_are_finite_float32_in_range"),
    (Restless, "test_the_same_seed_gives_the_same_map"),
    (Flat, "test_another_layout_gives_another_map"),
    (FirstForAll, "test_a_map_of_a_batch_is_the_one_it_gives_alone"),
    (WritesIntoLayout, "test_requests_are_left_as_they_were"),
    (ForgetsOnClose, "test_closing_and_generating_again_gives_the_same_map"),
    (NoProgress, "test_it_ends_at_the_step_at_which_progress_raises"),
    (SpoiltByAnException, "test_an_exception_in_progress_leaves_no_trace"),
    (AnyOption, "test_an_unknown_option_is_refused"),
    (TakesAll, "test_a_layout_that_does_not_fit_is_refused"),
]


@pytest.mark.parametrize(("model", "check"), BROKEN)
def test_a_check_fails_a_model_that_is_wrong_in_its_way(model, check) -> None:
    suite = FakeSuite()
    suite.model = model
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(suite, check)()


def test_every_check_has_a_model_that_fails_it() -> None:
    checks = {name for name in dir(DepthModelConformance) if name.startswith("test_")}
    tried = {check for _, check in BROKEN} | {"test_discovery_imports_no_model_library"}
    assert tried == checks
