"""One load serves every renderer that differs in options of the work alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from threedis_core import Engine, RenderError, render
from threedis_core.testing import FakeRenderer, sample_depth, sample_layout
from threedis_core.testing.fakes import FakeRendererOptions

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
TINTS = {"loading": {}, "loading@pale": {"tint": 0.1}, "loading@long": {"steps": 5}}


def pictures(run: Any) -> list[np.ndarray]:
    return [np.asarray(image.image) for image in run.images]


def alone(registry: Any, options: dict[str, Any]) -> np.ndarray:
    return pictures(render(LAYOUT, depth=DEPTH, renderers={"loading": options}, registry=registry))[
        0
    ]


def test_the_renderers_of_a_run_share_a_load_and_make_their_own_pictures(
    loading, loaded, alive
) -> None:
    expected = [alone(loading, options) for options in TINTS.values()]
    assert loaded() == [10] * 3
    run = render(LAYOUT, depth=DEPTH, renderers=TINTS, registry=loading)
    assert loaded() == [10] * 4
    assert alive() == []
    assert [image.renderer for image in run.images] == list(TINTS)
    for made, wanted in zip(pictures(run), expected, strict=True):
        assert np.array_equal(made, wanted)
    assert not np.array_equal(expected[0], expected[1])


def test_the_layouts_of_a_call_share_it_too(loading, loaded) -> None:
    layouts = [LAYOUT, sample_layout(3)]
    render(layouts, depth=DEPTH, renderers=TINTS, registry=loading)
    assert loaded() == [10]


def test_those_that_share_a_load_go_together_and_the_order_of_the_pictures_stays(
    loading, loaded
) -> None:
    asked = {"loading": {}, "loading@other": {"size": 3}, "loading@pale": {"tint": 0.1}}
    told: list[str] = []
    run = render(
        LAYOUT,
        depth=DEPTH,
        renderers=asked,
        registry=loading,
        progress=lambda stage, done, total: told.append(stage),
    )
    assert loaded() == [10, 3]
    assert [image.renderer for image in run.images] == list(asked)
    rendered = [name for name in dict.fromkeys(told) if "loading" in name]
    assert [name.removesuffix(": render") for name in rendered] == [
        "loading",
        "loading@pale",
        "loading@other",
    ]


def test_an_engine_keeps_one_model_for_all_of_them(loading, loaded, alive) -> None:
    with Engine(registry=loading) as engine:
        for options in TINTS.values():
            expected = alone(loading, options)
            run = engine.render(LAYOUT, depth=DEPTH, renderers={"loading": options})
            assert np.array_equal(pictures(run)[0], expected)
        assert loaded().count(10) == 1 + len(TINTS)
        assert engine.memory == 10
        assert alive() == [10]
    assert alive() == []


def test_threads_with_other_options_take_turns_with_one_model(loading, loaded) -> None:
    wanted = [{"tint": tint / 8} for tint in range(8)] * 2
    expected = [alone(loading, options) for options in wanted]
    before = len(loaded())
    with Engine(registry=loading) as engine, ThreadPoolExecutor(8) as threads:

        def made(options: dict[str, Any]) -> np.ndarray:
            return pictures(engine.render(LAYOUT, depth=DEPTH, renderers={"loading": options}))[0]

        for picture, right in zip(threads.map(made, wanted), expected, strict=True):
            assert np.array_equal(picture, right)
        assert loaded()[before:] == [10]


def test_a_failure_frees_the_model_whoever_had_it(loading, alive, on_step) -> None:
    def fail(size: int) -> None:
        raise RenderError("it broke")

    with Engine(registry=loading) as engine:
        engine.render(LAYOUT, depth=DEPTH, renderers={"loading": {}})
        on_step(fail)
        with pytest.raises(RenderError, match="it broke"):
            engine.render(LAYOUT, depth=DEPTH, renderers={"loading": {"tint": 0.1}})
        assert alive() == []
        assert engine.memory == 0


class HalfDone(FakeRenderer):
    class Options(FakeRendererOptions):
        of_the_work = FakeRendererOptions.work_and("tint")


def test_a_backend_that_does_not_say_how_a_model_is_taken_over_is_told_so() -> None:
    one, other = HalfDone(HalfDone.Options()), HalfDone(HalfDone.Options(tint=0.1))
    assert one.load_key() == other.load_key()
    with pytest.raises(NotImplementedError, match="override take_model"):
        one.take_model(other)
