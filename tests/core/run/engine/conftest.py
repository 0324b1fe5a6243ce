"""A renderer that loads a model of a size one can choose, and notes what becomes of it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import ClassVar

import pytest

from threedis_core import PluginRegistry, RenderError, RenderResult, silent
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.registrations import PluginSource
from threedis_core.testing import FakeRenderer, sample_depth, sample_layout
from threedis_core.testing.fakes import FakeRendererOptions

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


class LoadingOptions(FakeRendererOptions):
    of_the_work = FakeRendererOptions.work_and("tint", "steps")
    size: int = 10
    breaks: bool = False


class Steps:
    """A progress that calls ``Loading.on_step`` first."""

    def __init__(self, progress, size: int) -> None:
        self._progress, self._size = progress, size

    def __call__(self, stage: str, done: int, total: int) -> None:
        Loading.on_step(self._size)
        self._progress(stage, done, total)

    def __getattr__(self, name: str) -> object:
        return getattr(self._progress, name)


class Model:
    """What is loaded; it can be referred to weakly."""


class Loading(FakeRenderer):
    """Loads a model for its first picture; ``on_step`` is called at every step of all of them."""

    Options = LoadingOptions
    options: LoadingOptions
    loaded: ClassVar[list[tuple[int, weakref.ref[Model]]]] = []
    on_step: ClassVar[Callable[[int], None]] = lambda size: None

    def __init__(self, options: LoadingOptions) -> None:
        super().__init__(options)
        self.model: Model | None = None
        self.at_work = threading.Lock()

    def render(self, requests, progress=silent) -> list[RenderResult]:
        assert self.at_work.acquire(blocking=False), "two callers at once"
        try:
            if self.model is None:
                self.model = Model()
                self.loaded.append((self.options.size, weakref.ref(self.model)))
            if self.options.breaks:
                raise RenderError("it broke")

            return super().render(requests, Steps(progress, self.options.size))
        finally:
            self.at_work.release()

    def take_model(self, other: Loading) -> None:
        assert not other.at_work.locked(), "the model is at work elsewhere"
        if other.model is not None:
            self.model, other.model = other.model, None

    def memory(self) -> int:
        return 0 if self.model is None else self.options.size

    def close(self) -> None:
        self.model = None


class Silent(Loading):
    """Does not say how much it holds."""

    def memory(self) -> None:
        return None


class Plugin:
    @hookimpl
    def threedis_register_renderers(self, register) -> None:
        register("loading", f"{__name__}:Loading")
        register("silent", f"{__name__}:Silent")


@pytest.fixture
def loading(registry, monkeypatch) -> PluginRegistry:
    """The plugins, that renderer among them."""
    monkeypatch.setattr(Loading, "on_step", lambda size: None)
    Loading.loaded.clear()
    registry.add(Plugin(), PluginSource("loading"))
    return registry


@pytest.fixture
def on_step(loading, monkeypatch) -> Callable[[Callable[[int], None]], None]:
    """Have something called at every step, with the size of the model that takes it."""
    return lambda function: monkeypatch.setattr(Loading, "on_step", function)


@pytest.fixture
def loaded(loading) -> Callable[[], list[int]]:
    """The sizes of all models that were loaded so far."""
    return lambda: [size for size, _ in Loading.loaded]


@pytest.fixture
def alive(loading) -> Callable[[], list[int]]:
    """The sizes of the models that are in memory now."""

    def sizes() -> list[int]:
        gc.collect()
        return [size for size, model in Loading.loaded if model() is not None]

    return sizes
