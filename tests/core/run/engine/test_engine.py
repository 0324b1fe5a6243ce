"""An engine keeps models, and gives each to one caller at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from threedis_core import Engine, OptionError, RenderError, RunConfig, render
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def rendered(engine: Engine, size: int = 10, **changes) -> np.ndarray:
    renderers = {changes.pop("name", "loading"): {"size": size, **changes.pop("options", {})}}
    run = engine.render(LAYOUT, depth=DEPTH, renderers=renderers, **changes)
    return np.asarray(run.images[0].image)


def test_a_model_is_loaded_once_and_gives_the_pictures_of_a_fresh_one(loading, loaded) -> None:
    fresh = render(LAYOUT, depth=DEPTH, renderers="loading", seeds=[3], registry=loading)
    with Engine(registry=loading) as engine:
        for _ in range(3):
            kept = rendered(engine, seeds=[3])
            assert np.array_equal(np.asarray(fresh.images[0].image), kept)
        assert loaded() == [10, 10]
        assert [(model.name, model.bytes) for model in engine.models if model.bytes] == [
            ("renderer 'loading'", 10)
        ]


def test_other_options_are_another_model_and_another_label_is_not(loading, loaded) -> None:
    with Engine(registry=loading) as engine:
        rendered(engine, size=1)
        rendered(engine, size=2)
        rendered(engine, size=1, name="loading@again")
        assert loaded() == [1, 2]
        assert engine.memory == 3


def test_render_uses_the_engine_it_is_given_and_frees_its_models_without_one(
    loading, loaded, alive
) -> None:
    render(LAYOUT, depth=DEPTH, renderers="loading", registry=loading)
    assert alive() == []
    with Engine(registry=loading) as engine:
        for _ in range(2):
            render(LAYOUT, depth=DEPTH, renderers="loading", engine=engine)
        assert alive() == [10]
    assert loaded() == [10, 10]
    assert alive() == []


def test_an_engine_and_a_registry_are_not_both_taken(loading) -> None:
    with Engine(registry=loading) as engine, pytest.raises(OptionError, match="both given"):
        render(LAYOUT, depth=DEPTH, renderers="fake", registry=loading, engine=engine)


def test_a_config_is_rendered_by_an_engine_too(loading, tmp_path) -> None:
    LAYOUT.save(tmp_path / "layout.json")
    config = RunConfig(layout=tmp_path / "layout.json", renderers=["loading"])
    with Engine(registry=loading) as engine:
        assert engine.render_config(config, depth=DEPTH).images[0].renderer == "loading"


def test_the_least_recently_used_model_leaves_first(loading, loaded, alive) -> None:
    with Engine(memory_limit=10, registry=loading) as engine:
        for size in (4, 5, 4):
            rendered(engine, size)
        assert sorted(alive()) == [4, 5]
        rendered(engine, 3)  # 4 was used after 5
        assert sorted(alive()) == [3, 4]
        assert engine.memory == 7
        rendered(engine, 5)
        assert loaded() == [4, 5, 3, 5]
        assert sorted(alive()) == [3, 5]


def test_room_is_made_before_a_model_whose_size_is_known_is_loaded(loading, alive, on_step) -> None:
    together: list[int] = []
    with Engine(memory_limit=10, registry=loading) as engine:
        for size in (6, 7):
            rendered(engine, size)
        on_step(lambda size: together.append(sum(alive())))
        rendered(engine, 6)
        assert max(together) == 6


@pytest.mark.parametrize("limit", [0, 9])
def test_a_model_larger_than_the_limit_is_not_kept(loading, alive, limit) -> None:
    with Engine(memory_limit=limit, registry=loading) as engine:
        rendered(engine, 10)
        assert alive() == []
        assert engine.memory == 0


def test_a_model_of_unknown_size_is_kept_without_a_limit_only(loading, alive) -> None:
    with Engine(registry=loading) as engine:
        rendered(engine, name="silent")
        assert alive() == [10]
    with Engine(memory_limit=10**9, registry=loading) as engine:
        rendered(engine, name="silent")
        assert alive() == []


def test_a_backend_that_fails_is_freed_and_may_be_tried_again(loading, alive) -> None:
    with Engine(registry=loading) as engine:
        for _ in range(2):
            with pytest.raises(RenderError, match="it broke"):
                rendered(engine, options={"breaks": True})
            assert alive() == []


class StopError(Exception):
    """What a caller raises."""


def test_a_model_stays_when_the_callers_progress_ends_the_run(loading, alive) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        raise StopError

    with Engine(registry=loading) as engine:
        with pytest.raises(StopError):
            rendered(engine, progress=progress)
        assert alive() == [10]


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result(60) for future in [threads.submit(call) for call in calls]]


def test_many_threads_share_one_model_one_after_another(loading, loaded) -> None:
    with Engine(registry=loading) as engine:
        expected = [rendered(engine, seeds=[seed]) for seed in range(8)]
        made = at_once(*(lambda seed=seed: rendered(engine, seeds=[seed]) for seed in range(8)))
        assert all(np.array_equal(*pair) for pair in zip(expected, made, strict=True))
    assert loaded() == [10]


def test_different_models_work_at_the_same_time(loading, on_step) -> None:
    together = threading.Barrier(2, timeout=30)
    on_step(lambda size: together.wait())
    with Engine(registry=loading) as engine:
        at_once(lambda: rendered(engine, 1), lambda: rendered(engine, 2))


def test_callers_have_their_turns_in_the_order_they_came(loading, on_step) -> None:
    go, order = threading.Event(), list[int]()
    with Engine(registry=loading) as engine:
        on_step(lambda size: go.wait(30))
        queue = [threading.Thread(target=lambda: rendered(engine))]
        queue[0].start()
        wait_until(lambda: any(model.at_work for model in engine.models))
        for place in range(1, 5):

            def call(place: int = place) -> None:
                rendered(engine, progress=lambda *step: order.append(place))

            queue.append(threading.Thread(target=call))
            queue[-1].start()
            wait_until(partial(is_waited_for, engine, place))
        go.set()
        for thread in queue:
            thread.join(30)
    assert list(dict.fromkeys(order)) == [1, 2, 3, 4]
    assert order == sorted(order)


def is_waited_for(engine: Engine, by: int) -> bool:
    return [model.waiting for model in engine.models if "loading" in model.name] == [by]


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen within half a minute")


def test_a_thread_that_would_wait_for_itself_is_told_so(loading) -> None:
    with Engine(registry=loading) as engine:

        def progress(stage: str, done: int, total: int) -> None:
            rendered(engine)

        with pytest.raises(RenderError, match="in this very thread"):
            rendered(engine, progress=progress)
        rendered(engine)


def test_a_closed_engine_renders_no_more_and_has_freed_everything(loading, alive) -> None:
    engine = Engine(registry=loading)
    rendered(engine)
    engine.close()
    assert alive() == []
    with pytest.raises(OptionError, match="the engine is closed"):
        rendered(engine)
    engine.close()


def test_closing_waits_for_the_run_that_is_at_work(loading, on_step) -> None:
    go, inside = threading.Event(), threading.Event()

    def step(size: int) -> None:
        inside.set()
        go.wait(30)

    on_step(step)
    engine = Engine(registry=loading)
    with ThreadPoolExecutor(2) as threads:
        run = threads.submit(rendered, engine)
        assert inside.wait(30)
        closing = threads.submit(engine.close)
        threading.Event().wait(0.2)
        assert not closing.done()
        go.set()
        closing.result(30)
        run.result(30)


def test_an_engine_is_not_closed_from_within_its_own_work(loading) -> None:
    engine = Engine(registry=loading)

    def progress(stage: str, done: int, total: int) -> None:
        engine.close()

    with pytest.raises(RenderError, match="cannot be closed"):
        rendered(engine, progress=progress)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(OptionError, match="memory_limit is -1"):
        Engine(memory_limit=-1)
