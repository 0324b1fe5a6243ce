"""The tests that every depth model must pass. Subclass ``DepthModelConformance``."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest

from threedis_core.errors import InputError
from threedis_core.plugin.interfaces import DepthModel, DepthRequest
from threedis_core.testing.checks import (
    check_discovery_is_light,
    check_it_ends_where_progress_raises,
    check_unknown_option_is_refused,
)
from threedis_core.testing.samples import sample_layout
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


class DepthModelConformance:
    """What every depth model promises; each method that starts with ``test_`` is one check.

    Args:
        plugin_module: The module your entry point names.
        size: (width, height) of the maps the suite asks for.
        tolerance: How far a map of a batch may be from the same map alone.
    """

    plugin_module: ClassVar[str]
    size: ClassVar[tuple[int, int]] = (64, 64)
    tolerance: ClassVar[float] = 2 / 255

    def make_model(self, **options: Any) -> DepthModel:
        """Make the model under test, small and fast; must be overridden."""
        raise NotImplementedError

    def layout(self, instances: int) -> Layout:
        """A layout the model can serve; override if it wants other labels."""
        return sample_layout(instances)

    def unfit_layout(self) -> Layout | None:
        """A layout the model must refuse; None if it takes all."""
        return None

    def request(self, instances: int = 2, seed: int = 0) -> DepthRequest:
        """A request of the suite's size."""
        return DepthRequest(self.layout(instances), seed, *self.size)

    def test_each_request_gives_one_map_of_its_size(self) -> None:
        width, height = self.size
        other = DepthRequest(self.layout(3), 1, width, height // 2)
        maps = self.make_model().generate([self.request(), other])
        assert len(maps) == 2, f"{len(maps)} maps for 2 requests"
        assert [depth.values.shape for depth in maps] == [(height, width), (height // 2, width)]

    def test_values_are_finite_float32_in_range(self) -> None:
        for depth in self.make_model().generate([self.request(), self.request(1, seed=3)]):
            assert isinstance(depth, DepthMap), f"got {type(depth).__name__}"
            assert depth.values.dtype == np.float32, f"dtype {depth.values.dtype}"
            assert np.isfinite(depth.values).all(), "some values are not finite"
            assert depth.values.min() >= 0, "some values are below 0"
            assert depth.values.max() <= 1, "some values are above 1"

    def test_the_same_seed_gives_the_same_map(self) -> None:
        model = self.make_model()
        first, again = (model.generate([self.request(seed=5)])[0] for _ in range(2))
        assert np.array_equal(first.values, again.values), "the same seed gave another map"

    def test_another_layout_gives_another_map(self) -> None:
        first, other = self.make_model().generate([self.request(1), self.request(3)])
        assert not np.array_equal(first.values, other.values), "two layouts gave the same map"

    def test_a_map_of_a_batch_is_the_one_it_gives_alone(self) -> None:
        requests = [self.request(1, seed=1), self.request(3, seed=2), self.request(2, seed=3)]
        together = self.make_model().generate(requests)
        for index, request in enumerate(requests):
            alone = self.make_model().generate([request])[0]
            difference = np.abs(alone.values - together[index].values).max()
            assert difference <= self.tolerance, (
                f"map {index} differs by {difference:.4f} from the one it gives alone"
            )

    def test_requests_are_left_as_they_were(self) -> None:
        request = self.request()
        before = json.dumps(request.layout.to_dict())
        self.make_model().generate([request])
        assert json.dumps(request.layout.to_dict()) == before, "the model changed its request"

    def test_closing_and_generating_again_gives_the_same_map(self) -> None:
        model = self.make_model()
        first = model.generate([self.request()])[0]
        model.close()
        assert np.array_equal(first.values, model.generate([self.request()])[0].values)

    def test_it_ends_at_the_step_at_which_progress_raises(self) -> None:
        check_it_ends_where_progress_raises(
            lambda progress: self.make_model().generate([self.request()], progress)
        )

    def test_an_exception_in_progress_leaves_no_trace(self) -> None:
        model, request = self.make_model(), self.request()
        expected = self.make_model().generate([request])[0]
        check_it_ends_where_progress_raises(
            lambda progress: model.generate([self.request(3, seed=9)], progress)
        )
        assert np.array_equal(expected.values, model.generate([request])[0].values), (
            "after an exception the model makes another map"
        )

    def test_an_unknown_option_is_refused(self) -> None:
        check_unknown_option_is_refused(type(self.make_model()).Options)

    def test_a_layout_that_does_not_fit_is_refused(self) -> None:
        layout = self.unfit_layout()
        if layout is None:
            pytest.skip("unfit_layout is not overridden")
        with pytest.raises(InputError):
            self.make_model().generate([DepthRequest(layout, 0, *self.size)])

    def test_discovery_imports_no_model_library(self) -> None:
        check_discovery_is_light(self.plugin_module)
