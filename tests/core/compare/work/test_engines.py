"""All engines make the same files, and lose nothing when a worker or a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from threedis_core.compare import Means, Shard
from threedis_core.compare.work.claim import claimed
from threedis_core.errors import OptionError

Process = subprocess.Popen[bytes]
RENDERERS = {"counting": {}, "counting@pale": {"tint": 0.1}}
TWO = Means(workers=2)


@pytest.fixture
def once(comparing, monkeypatch) -> Path:
    """A file that a dying renderer makes before it dies; if it is there, it does not."""
    place = comparing.folder / "once"
    monkeypatch.setenv("THREEDIS_TEST_ONCE", str(place))
    return place


def test_two_processes_make_the_same_bytes_as_this_one(comparing) -> None:
    one, two = comparing.folder / "one", comparing.folder / "two"
    assert comparing(5, renderers=RENDERERS, out=one).complete
    assert comparing(5, renderers=RENDERERS, out=two, means=TWO).complete
    assert comparing.files(one) == comparing.files(two)


def test_a_worker_that_is_killed_is_replaced_and_its_batch_tried_again(comparing, once) -> None:
    settings = {"renderers": {"dying": {"fault": "deadly"}}}
    made = comparing(["scene-0", "deadly", "scene-2"], **settings, means=TWO)
    assert made.complete
    assert len(comparing.events("died")) == 1
    assert not comparing.events("halved")


def test_a_job_that_kills_its_workers_is_found_and_recorded(comparing) -> None:
    settings = {"renderers": {"dying": {"fault": "deadly"}}, "seeds": [0]}
    prompts = ["scene-0", "deadly", "scene-2", "scene-3"]
    made = comparing(prompts, **settings, means=TWO)
    assert [one.error for one in made.failed] == [
        "the worker that rendered it died, every time it was tried"
    ]
    assert made.systems["dying"].done == 3
    assert len(comparing.events("died")) == 4


@pytest.fixture
def ray_here() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    yield
    ray.shutdown()


def test_a_ray_cluster_makes_the_same_bytes_and_survives_a_killed_worker(
    comparing, once, ray_here
) -> None:
    one, two = comparing.folder / "one", comparing.folder / "two"
    settings = {"renderers": {"dying": {"fault": "deadly"}, "counting": {}}}
    prompts = ["scene-0", "deadly", "scene-2"]
    once.touch()
    assert comparing(prompts, **settings, out=one).complete
    once.unlink()
    comparing.out = two
    assert comparing(prompts, **settings, out=two, means=Means(engine="ray", workers=2)).complete
    assert once.exists()
    assert len(comparing.events("died")) == 1
    assert comparing.files(one) == comparing.files(two)


SHARD = """
    import sys, time
    from threedis_core.compare import Means, Shard, compare
    def progress(stage, done, total):
        time.sleep(float(sys.argv[4]))
    compare(layouts=sys.argv[5:], renderers="counting", depth_models="counted-depth", seeds=[0, 1],
            out=sys.argv[1], means=Means(shard=Shard(int(sys.argv[2]), int(sys.argv[3]))),
            progress=progress)
"""


def shard(comparing, number: int, count: int, files: list[str], pause: float = 0.0) -> Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [str(comparing.out), str(number), str(count), str(pause), *files]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SHARD), *arguments],
        env=environment,
        stderr=subprocess.PIPE,
    )


def ends(process) -> None:
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told.decode()


def test_three_shards_one_of_them_killed_make_the_same_files(comparing) -> None:
    files = comparing.layouts(*(f"scene-{number}" for number in range(6)))
    three = [shard(comparing, number, 3, files, 0.05) for number in range(3)]
    deadline = time.monotonic() + 240
    while not list(comparing.out.glob("pictures/*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    three[1].send_signal(signal.SIGKILL)
    three[1].communicate()
    ends(three[0])
    ends(three[2])
    for number in range(2):  # another number of shards finishes what three began
        ends(shard(comparing, number, 2, files))
    made = comparing(6)
    assert made.complete
    most = max(comparing.rendered.values())
    assert most <= 2
    assert sum(count - 1 for count in comparing.rendered.values()) <= 4  # the running batch
    whole = comparing.folder / "whole"
    comparing(6, out=whole)
    assert comparing.files() == comparing.files(whole)


def test_a_second_process_on_the_same_jobs_is_refused(comparing) -> None:
    comparing(1)
    with (
        claimed(comparing.out, Shard()),
        pytest.raises(OptionError, match=r"another process is at work on it \(all\); wait"),
    ):
        comparing(1)
    with (
        claimed(comparing.out, Shard(0, 3)),
        pytest.raises(OptionError, match=r"at work on it \(shard-0-of-3\)"),
    ):
        comparing(1, means=Means(shard=Shard(1, 2)))
    with claimed(comparing.out, Shard(0, 3)):
        comparing(1, means=Means(shard=Shard(1, 3)))


def test_a_second_process_may_wait(comparing) -> None:
    comparing(1)
    told: list[str] = []
    with claimed(comparing.out, Shard()):
        thread = Thread(
            target=lambda: comparing(1, means=Means(wait=True), warn=told.append), daemon=True
        )
        thread.start()
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.05)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
    assert "waiting for it" in told[0]


@pytest.mark.parametrize(
    ("means", "told"),
    [
        ({"engine": "slurm"}, "expected local or ray"),
        ({"workers": 0}, "at least 1"),
        ({"address": "auto"}, "engine ray"),
    ],
)
def test_means_that_do_not_go_together_are_refused(means, told) -> None:
    with pytest.raises(OptionError, match=told):
        Means(**means)
