"""Wrong about what they can do, what they need, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from threedis_core.errors import WeightsError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Capabilities, RenderResult
from threedis_core.plugin.progress import silent
from threedis_core.testing.fakes import FakeRendererOptions
from wrong_renderers.fakes import Filed, HookedFake, with_changes


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


class AlwaysReady(Filed):
    def inspect(self) -> Inspection:
        return Inspection()


class NeverChecks(Filed):
    def check(self) -> None:
        """Leave it to the render."""


class TripsOverAFile(Filed):
    """Reads its configuration without looking first."""

    def load(self) -> torch.nn.Module:
        Path(self.options.model, "config.json").read_text()
        return super().load()


class ChecksOneFile(Filed):
    """Takes the second file for granted, whose lack then breaks the loading."""

    def check(self) -> None:
        if not Path(self.options.model, "weights.bin").exists():
            raise WeightsError("no weights")

    def load(self) -> torch.nn.Module:
        Path(self.options.model, "config.json").read_text()
        return super().load()


class ChecksOnlyForARender(Filed):
    """Its doctor knows of weights and of nothing else."""

    files = ("weights.bin",)

    def load(self) -> torch.nn.Module:
        if not Path(self.options.model, "config.json").exists():
            raise WeightsError("no configuration")
        return super().load()


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


class NoCheck(HookedFake):
    """Draws without looking whether it can: settings of any kind."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        plain = [with_changes(r, steps=None, guidance=None) for r in requests]
        return super().render(plain, progress)


CAPABILITIES = "test_capabilities_are_known_without_weights"
NEEDED = "test_what_is_needed_is_known_without_weights"
CHECK = "test_check_loads_nothing_and_raises_only_our_errors"
AGREE = "test_without_weights_inspection_check_and_render_say_the_same"
FILES = "test_a_file_that_is_missing_is_told_by_inspection_check_and_render"
WRONG = [
    (OddCapabilities, CAPABILITIES),
    (Fickle, CAPABILITIES),
    (LoadsToTell, CAPABILITIES),
    (LoadsToCheck, CHECK),
    (ChecksAndComplains, CHECK),
    (TripsOverItsCheck, CHECK),
    (AlwaysIll, NEEDED),
    (WordsOnly, NEEDED),
    (AlwaysReady, AGREE),
    (AlwaysReady, FILES),
    (NeverChecks, AGREE),
    (NeverChecks, FILES),
    (TripsOverAFile, AGREE),
    (ChecksOneFile, FILES),
    (ChecksOnlyForARender, FILES),
    (AnyOption, "test_an_unknown_option_is_refused"),
    (TakesAnything, "test_a_size_that_does_not_fit_is_refused_before_loading"),
    (TakesAnything, "test_too_many_instances_are_refused_before_loading"),
    (TakesAnything, "test_an_unknown_control_is_refused_before_loading"),
    (NoCheck, "test_settings_that_it_does_not_have_are_refused_before_loading"),
]
