"""What a caller's progress raises ends a run, and arrives as it is."""

from __future__ import annotations

import pytest

from threedis_core import (
    InputError,
    PluginRegistry,
    RenderError,
    RenderResult,
    render,
    silent,
)
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.registrations import PluginSource
from threedis_core.testing import FakeDepthModel, FakeRenderer, sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


class EnoughError(Exception):
    """What the caller raises."""


class Swallowing(FakeRenderer):
    """Takes what progress raises for a small accident."""

    def render(self, requests, progress=silent) -> list[RenderResult]:
        try:
            return super().render(requests, progress)
        except EnoughError:
            return super().render(requests)


class Renaming(FakeRenderer):
    def render(self, requests, progress=silent) -> list[RenderResult]:
        try:
            return super().render(requests, progress)
        except EnoughError as error:
            raise RenderError("the pipeline failed") from error


class Plugin:
    @hookimpl
    def threedis_register_renderers(self, register) -> None:
        for target in (Swallowing, Renaming):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")

    @hookimpl
    def threedis_register_depth_models(self, register) -> None:
        register("pocket-depth", f"{__name__}:Default")


class Default(FakeDepthModel):
    """What is taken when nobody names a depth model."""


@pytest.fixture
def both(registry) -> PluginRegistry:
    registry.add(Plugin(), PluginSource("plugin"))
    return registry


def stopping(at: str, error: BaseException) -> object:
    def progress(stage: str, done: int, total: int) -> None:
        if stage.endswith(at):
            raise error

    return progress


@pytest.mark.parametrize("name", ["fake", "swallowing", "renaming"])
@pytest.mark.parametrize("error", [EnoughError("no more"), RenderError("mine"), SystemExit(3)])
def test_what_progress_raises_while_rendering_comes_out_as_it_is(both, name, error) -> None:
    with pytest.raises(type(error)) as caught:
        render(
            LAYOUT,
            depth=DEPTH,
            renderers=name,
            progress=stopping("render", error),
            registry=both,
        )
    assert caught.value is error


@pytest.mark.parametrize("error", [EnoughError("no more"), InputError("mine")])
def test_what_progress_raises_in_the_depth_stage_comes_out_as_it_is(both, error) -> None:
    with pytest.raises(type(error)) as caught:
        render(LAYOUT, renderers="fake", progress=stopping("depth", error), registry=both)
    assert caught.value is error


def test_a_run_that_progress_ended_leaves_no_folder(both, tmp_path) -> None:
    with pytest.raises(EnoughError):
        render(
            LAYOUT,
            depth=DEPTH,
            renderers="fake",
            progress=stopping("render", EnoughError()),
            registry=both,
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
