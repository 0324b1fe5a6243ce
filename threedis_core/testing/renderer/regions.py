"""Checks that each instance's prompt is heard in its own region, and there most.

They change one prompt at a time and look where the picture changes. How much each place changes
anyway, and how much each prompt changes anything, is divided out: what is left is which prompt
belongs to which place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.renderer.scenes import OTHERS, PROMPTS, masked, moved
from threedis_core.testing.renderer.suite import Pixels, RendererSuite, picture, same
from threedis_core.testing.samples import sample_layout, sample_request
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions

Place = Callable[[tuple[int, int], Sequence[int]], Regions]
PLACES = (1, 2, 3, 0)
"""Where the request's regions are, while the layout's boxes are in order: they must not count."""
BELONGS = 0.05
"""Least mean of what is left, where a prompt belongs; 0 where nothing belongs anywhere."""


class RegionChecks(RendererSuite):
    """Each prompt in its own region."""

    def test_each_instances_prompt_changes_its_own_region_most(self) -> None:
        self._check_places(moved)

    def test_each_instances_prompt_changes_its_own_mask_most(self) -> None:
        self.needs("masks")
        self._check_places(masked)

    def test_the_last_of_many_instances_is_heard(self) -> None:
        self.needs("controls")
        most, size = self.instances(9), self.capabilities().default_size
        if most == 0:
            pytest.skip("the backend takes no instances")
        request = sample_request(most, size=size)
        other = sample_layout(most).model_dump()
        other["instances"][-1]["prompt"] = OTHERS[0]
        backend = self.make_backend()
        first, last = (
            picture(backend, _with_layout(request, layout))
            for layout in (request.layout, Layout.from_dict(other))
        )
        assert not same(first, last), f"of {most} instances the last one's prompt is not heard"

    def _check_places(self, regions: Place) -> None:
        """Fail unless each prompt counts in its own region of the request, and there most."""
        self.needs("controls")
        if self.instances(1) == 0:
            pytest.skip("the backend takes no instances")
        own = PLACES if self.instances(4) == 4 else range(4)
        changes = self._changes_together if self.instances(4) == 4 else self._changes_one_by_one
        table = changes(regions)
        for index, row in enumerate(table):
            assert row.any(), (
                f"the prompt of instance {index} changes nothing: it is not heard, or the model "
                "hardly hears texts"
            )
        left = _without_habits(table)
        for index, place in enumerate(own):
            most = int(left[index].argmax())
            assert most == place, (
                f"the prompt of instance {index} counts most in quarter {most}, but its region is "
                f"quarter {place} (0 to 3, row by row); mean changes of 255: {_shown(table[index])}"
            )
        belongs = float(np.mean([left[index, place] for index, place in enumerate(own)]))
        assert belongs >= BELONGS, (
            "each instance's prompt counts everywhere alike; mean changes of 255 by instance and "
            f"quarter: {[_shown(row) for row in table]}"
        )

    def _changes_together(self, regions: Place) -> NDArray[np.float64]:
        """How each of four prompts changes each quarter, shape (4, 4)."""
        size = self.capabilities().default_size
        where, backend = regions(size, PLACES), self.make_backend()
        before = picture(backend, self.scene(regions=where))
        rows: list[NDArray[np.float64]] = []
        for index, text in enumerate(OTHERS):
            prompts = [*PROMPTS[:index], text, *PROMPTS[index + 1 :]]
            after = picture(backend, self.scene(regions=where, prompts=prompts))
            rows.append(_by_quarter(before, after))
        return np.stack(rows)

    def _changes_one_by_one(self, regions: Place) -> NDArray[np.float64]:
        """The same of a backend that takes one instance, put into each quarter in turn."""
        size, backend = self.capabilities().default_size, self.make_backend()
        rows: list[NDArray[np.float64]] = []
        for place in range(4):
            before, after = (
                picture(backend, self.scene(regions=regions(size, [place]), prompts=[text]))
                for text in (PROMPTS[0], OTHERS[0])
            )
            rows.append(_by_quarter(before, after))
        return np.stack(rows)


def _by_quarter(before: Pixels, after: Pixels) -> NDArray[np.float64]:
    """The mean change of each quarter, shape (4,)."""
    change = np.abs(before - after)
    height, width = change.shape[:2]
    masks = moved((width, height), range(4)).pixel_masks(height, width).astype(np.bool_)
    return np.array([change[mask].mean() for mask in masks])


def _without_habits(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms, less what a prompt does anywhere and what a place does for any prompt."""
    logs = np.log(table + 1e-3)
    return logs - logs.mean(0) - logs.mean(1, keepdims=True) + logs.mean()


def _shown(row: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 2) for value in row]


def _with_layout(request: RenderRequest, layout: Layout) -> RenderRequest:
    size = request.width, request.height
    return RenderRequest(layout, request.depth, request.regions, request.seed, *size)
