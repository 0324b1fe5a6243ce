"""A job is watched, waited for, and ended before its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from threedis_core import (
    Cancelled,
    DeadlineExceeded,
    Engine,
    Job,
    JobProgress,
    OptionError,
    Preview,
    Previews,
    RenderError,
    UnknownPluginError,
    render,
)
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


class Gate:
    """Holds a model at its first step until it is opened; counts the steps that are taken."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.steps = 0

    def __call__(self, size: int) -> None:
        self.steps += 1
        self.reached.set()
        assert self.open.wait(30)


@pytest.fixture
def gate(on_step) -> Iterator[Gate]:
    made = Gate()
    on_step(made)
    yield made
    made.open.set()


@pytest.fixture
def engine(loading) -> Iterator[Engine]:
    with Engine(registry=loading) as made:
        yield made


def submitted(engine: Engine, steps: int = 3, **settings) -> Job:
    renderers = {"loading": {"steps": steps}}
    return engine.submit(LAYOUT, depth=DEPTH, **{"renderers": renderers, **settings})


def waits(engine: Engine, by: int) -> Callable[[], bool]:
    return lambda: sum(model.waiting for model in engine.models) == by


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_job_gives_the_run_that_render_gives(engine, loading) -> None:
    job = submitted(engine, seeds=[1, 2])
    assert [image.seed for image in job.result(30).images] == [1, 2]
    expected = render(LAYOUT, depth=DEPTH, renderers="loading", seeds=[1, 2], registry=loading)
    found = [image.image.tobytes() for image in job.result().images]
    assert found == [image.image.tobytes() for image in expected.images]
    assert (job.state, job.progress) == ("done", JobProgress("pictures", 2, 2))
    wait_until(lambda: engine.jobs == ())


def test_what_is_wrong_with_a_job_is_said_at_once(engine) -> None:
    with pytest.raises(UnknownPluginError):
        engine.submit(LAYOUT, depth=DEPTH, renderers="nothing")
    with pytest.raises(OptionError, match="deadline is 0"):
        submitted(engine, deadline=0)
    assert engine.jobs == ()


def test_a_job_says_how_far_it_is_and_can_be_asked_for_later(engine, gate) -> None:
    job = submitted(engine)
    assert gate.reached.wait(30)
    assert (job.state, job.progress, engine.jobs) == ("waiting", None, (job,))
    with pytest.raises(TimeoutError, match="it goes on"):
        job.result(0.05)
    assert not job.wait(0)
    gate.open.set()
    job.result(30)


def test_a_cancelled_job_ends_at_its_step(engine, gate) -> None:
    job = submitted(engine, steps=50)
    assert gate.reached.wait(30)
    job.cancel()
    gate.open.set()
    with pytest.raises(Cancelled):
        job.result(30)
    assert gate.steps == 1
    assert job.state == "stopped"
    assert submitted(engine).result(30).images


def test_a_job_that_waits_for_its_turn_is_cancelled_at_once(engine, gate) -> None:
    at_work = submitted(engine)
    assert gate.reached.wait(30)
    waiting = submitted(engine)
    wait_until(waits(engine, by=1))
    waiting.cancel()
    with pytest.raises(Cancelled):
        waiting.result(30)
    assert at_work.state == "waiting"  # the gate holds it
    gate.open.set()
    at_work.result(30)


def test_a_deadline_ends_a_job_at_its_step(engine, gate) -> None:
    job = submitted(engine, steps=50, deadline=0.2)
    assert gate.reached.wait(30)
    time.sleep(0.3)
    gate.open.set()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 seconds"):
        job.result(30)
    assert gate.steps == 1


def test_a_deadline_ends_a_job_that_waits_for_its_turn(engine, gate) -> None:
    submitted(engine)
    assert gate.reached.wait(30)
    with pytest.raises(DeadlineExceeded):
        submitted(engine, deadline=0.1).result(30)


class MineError(Exception):
    """What a caller raises."""


def test_what_the_callers_progress_raises_comes_out_of_the_job(engine) -> None:
    error = MineError()

    def progress(stage: str, done: int, total: int) -> None:
        raise error

    job = submitted(engine, progress=progress)
    with pytest.raises(MineError) as caught:
        job.result(30)
    assert caught.value is error
    assert job.state == "failed"


def test_a_depth_model_is_cancelled_too(engine) -> None:
    seen: list[str] = []
    jobs: list[Job] = []
    submitted_now = threading.Event()

    def progress(stage: str, done: int, total: int) -> None:
        seen.append(stage)
        assert submitted_now.wait(30)
        jobs[0].cancel()

    jobs.append(
        engine.submit(
            LAYOUT,
            depth_model="fake-depth",
            renderers="loading",
            depth_cache=False,
            progress=progress,
        )
    )
    submitted_now.set()
    with pytest.raises(Cancelled):
        jobs[0].result(30)
    assert seen == ["fake-depth: depth"]


def test_a_failing_job_raises_what_render_raises(engine) -> None:
    job = submitted(engine, renderers={"loading": {"breaks": True}})
    with pytest.raises(RenderError, match="it broke"):
        job.result(30)
    assert job.state == "failed"


def test_closing_the_engine_cancels_its_jobs(loading, gate) -> None:
    engine = Engine(registry=loading)
    jobs = [submitted(engine, steps=50) for _ in range(3)]
    assert gate.reached.wait(30)
    closing = threading.Thread(target=engine.close)
    closing.start()
    wait_until(lambda: sum(job.state == "stopped" for job in jobs) == 2)
    gate.open.set()
    closing.join(30)
    assert {job.state for job in jobs} == {"stopped"}
    with pytest.raises(OptionError, match="closed"):
        submitted(engine)


def test_previews_are_kept_and_shown_and_can_end_the_job(engine) -> None:
    shown: list[Preview] = []
    job = submitted(engine, previews=Previews(shown.append, every=2), seeds=[4, 5], steps=5)
    job.result(30)
    # Steps 2 and 4 of both pictures.
    assert [(one.renderer, one.seed) for one in shown] == [("loading", 4), ("loading", 5)] * 2
    assert job.previews == tuple(shown[2:])
    quiet = submitted(engine)
    quiet.result(30)
    assert quiet.previews == ()
    kept = submitted(engine, previews=Previews(every=1))
    kept.result(30)
    assert len(kept.previews) == 1

    def show(preview: Preview) -> None:
        raise MineError

    with pytest.raises(MineError):
        submitted(engine, previews=Previews(show, every=1)).result(30)
