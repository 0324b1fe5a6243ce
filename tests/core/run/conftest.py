"""Backends that behave badly or remember what they were asked, for the tests of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

import threedis_core
from threedis_core import (
    DepthMap,
    LayoutError,
    PluginRegistry,
    Regions,
    RenderError,
    WeightsError,
)
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.interfaces import Capabilities, RenderResult
from threedis_core.plugin.registrations import PluginSource
from threedis_core.refiners.boxes import BoxRefiner
from threedis_core.testing import FakeDepthModel, FakeRenderer, sample_layout
from threedis_core.testing.fakes import FakeRendererOptions


class Recording(FakeRenderer):
    """Remembers what it was asked, for the tests of the loop around it."""

    calls: list[tuple[str, object]] = []  # noqa: RUF012

    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        self.calls.append(("render", [request.seed for request in requests]))
        return super().render(requests, progress)

    def close(self) -> None:
        self.calls.append(("close", None))


class Small(FakeRenderer):
    """Has memory for ``fits`` pictures at once."""

    fits = 2
    tried: list[int] = []  # noqa: RUF012

    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        self.tried.append(len(requests))
        if len(requests) > self.fits:
            raise RenderError("no room", code="out-of-memory")
        return super().render(requests, progress)


class Failing(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        raise ZeroDivisionError("inside the model")


class Careless(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        return [RenderResult(Image.new("RGB", (3, 3))) for _ in requests]


class Forgetful(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        return []


class Narrow(FakeRenderer):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            size_multiple=16,
            default_size=(128, 64),
            max_instances=1,
            masks=False,
            negative_prompt=False,
        )


class Stepless(FakeRenderer):
    """Draws at once, and has nothing to control."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            size_multiple=8, default_size=(64, 64), steps=False, negative_prompt=False
        )


class Broken(FakeRenderer):
    def __init__(self, options) -> None:
        raise KeyError("device")


class Repeating(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [RenderResult(result.image, {}, ("long prompt",)) for result in results]


class Losing(BoxRefiner):
    def refine(self, layout, depth) -> Regions:
        raise KeyError("lost")


class Dropping(BoxRefiner):
    def refine(self, layout, depth) -> Regions:
        return Regions.from_layout(sample_layout(1), depth.width, depth.height)


class Unready(BoxRefiner):
    def check(self, layout) -> None:
        raise WeightsError(f"no weights for {len(layout.instances)} instances")


class FiledOptions(FakeRendererOptions):
    model: str


class Filed(FakeRenderer):
    """Has a model that must be there, and tells of it."""

    Options = FiledOptions

    def check(self) -> None:
        if not Path(self.options.model).is_dir():
            raise WeightsError(f"no folder {self.options.model}")

    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        facts = {"part": f"{self.options.model}/unet"}
        return [RenderResult(one.image, facts) for one in super().render(requests, progress)]


class Wandering(FakeRenderer):
    """Leaves the working directory, as some libraries do."""

    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        os.chdir("/")
        return super().render(requests, progress)


class Unclosable(FakeRenderer):
    def close(self) -> None:
        raise KeyError("device")


class Picky(FakeDepthModel):
    def generate(self, requests, progress=threedis_core.silent) -> list[DepthMap]:
        raise LayoutError("instances[0] is no solid")


class Extras:
    """Registers the classes above."""

    @hookimpl
    def threedis_register_renderers(self, register) -> None:
        for target in (
            Recording,
            Small,
            Failing,
            Careless,
            Forgetful,
            Narrow,
            Stepless,
            Broken,
            Repeating,
            Filed,
            Unclosable,
            Wandering,
        ):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")

    @hookimpl
    def threedis_register_depth_models(self, register) -> None:
        register("picky", f"{__name__}:Picky")

    @hookimpl
    def threedis_register_region_refiners(self, register) -> None:
        for target in (Losing, Dropping, Unready):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")


@pytest.fixture
def extras(registry) -> PluginRegistry:
    registry.add(Extras(), PluginSource("extras", "1.0"))
    Recording.calls.clear()
    Small.tried.clear()
    return registry


@pytest.fixture
def calls(extras) -> list[tuple[str, object]]:
    """What ``recording`` was asked so far."""
    return Recording.calls


@pytest.fixture
def small(extras, monkeypatch) -> type[Small]:
    """A renderer with little memory."""
    monkeypatch.setattr(Small, "fits", 2)
    return Small
