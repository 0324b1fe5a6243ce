"""They leave something behind: in their model, in the process, for the next render."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import torch

from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.plugin.progress import silent
from threedis_core.testing import FakeRenderer
from wrong_renderers.fakes import Filed, HookedFake, with_changes


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


class AsksTheGlobalGenerator(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        noise = int(torch.randint(1000, ()))
        return super().render([with_changes(r, seed=r.seed + noise) for r in requests], progress)


class SeedsTheGlobalGenerator(HookedFake):
    """The picture is right, but whoever draws numbers afterwards always gets the same ones."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        torch.manual_seed(requests[0].seed)
        return super().render(requests, progress)


class SeedsNumpy(HookedFake):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        np.random.seed(requests[0].seed)
        return super().render(requests, progress)


class Patches(Filed):
    """Leaves something in its model; what, the subclasses say."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        self.patch(self.load())
        return super().render(requests, progress)

    def patch(self, net: Any) -> None:
        raise NotImplementedError


class LeavesAHook(Patches):
    def patch(self, net: Any) -> None:
        net[0].register_forward_hook(lambda *_: None)


class HidesAMethod(Patches):
    def patch(self, net: Any) -> None:
        net.forward = net.forward


class LeavesASwitch(Patches):
    def patch(self, net: Any) -> None:
        net[0].train(False)


class WritesIntoWeights(Patches):
    def patch(self, net: Any) -> None:
        with torch.no_grad():
            net[0].weight.mul_(1.0)


class AddsAModule(Patches):
    def patch(self, net: Any) -> None:
        net.add_module("adapter", torch.nn.Identity())


class PatchesOnlyWhenItFails(Filed):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        net: Any = self.load()
        net[0].scale = 2.0
        results = super().render(requests, progress)
        del net[0].scale
        return results


LEFT = "test_nothing_is_left_in_the_model"
GENERATORS = "test_no_random_generator_of_the_process_is_read_or_moved"
ENDS = "test_it_ends_at_the_step_at_which_progress_raises"
WRONG = [
    (NeverRestores, "test_processors_are_restored_after_success"),
    (NotAfterAnException, "test_processors_are_restored_after_an_exception"),
    (SpoiltByAnException, "test_an_exception_in_the_middle_leaves_no_trace"),
    (SharesAState, "test_two_interleaved_renders_do_not_disturb_each_other"),
    (GoesOnAfterAll, ENDS),
    (RenamesWhatProgressRaises, ENDS),
    (StopsLate, ENDS),
    (AsksTheGlobalGenerator, GENERATORS),
    (SeedsTheGlobalGenerator, GENERATORS),
    (SeedsNumpy, GENERATORS),
    (LeavesAHook, LEFT),
    (HidesAMethod, LEFT),
    (LeavesASwitch, LEFT),
    (WritesIntoWeights, LEFT),
    (AddsAModule, LEFT),
    (PatchesOnlyWhenItFails, "test_nothing_is_left_in_the_model_after_an_exception"),
]
