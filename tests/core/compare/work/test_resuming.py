"""A comparison goes on where it was stopped, and with nothing else."""

from __future__ import annotations

import pytest

from threedis_core import Progress
from threedis_core.compare import Shard
from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.work.ledger import sweep
from threedis_core.errors import OptionError


class Stopped(BaseException):
    """What somebody's progress raises."""


def stop_after(pictures: int) -> Progress:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == "render: done" and done >= pictures:
            raise Stopped

    return progress


def test_every_picture_and_one_depth_map_per_layout_are_made_once(comparing) -> None:
    made = comparing(3, renderers=["counting", "counting@b"], depth_seeds=[0, 1])
    assert made.complete
    assert {name: one.done for name, one in made.systems.items()} == {
        "counting": 12,
        "counting@b": 12,
    }
    maps = {name: count for name, count in comparing.rendered.items() if name.startswith("depth")}
    assert len(maps) == 3 * 2
    assert set(maps.values()) == {1}
    assert len(list((comparing.out / "depth").iterdir())) == 6


def test_the_same_call_goes_on_and_renders_nothing_again(comparing) -> None:
    with pytest.raises(Stopped):
        comparing(4, progress=stop_after(4))
    before = comparing.rendered
    made = comparing(4)
    assert made.complete
    assert all(count == 1 for count in comparing.rendered.values())
    assert sum(before.values()) < sum(comparing.rendered.values())
    again = comparing(4)
    assert again.complete
    assert all(count == 1 for count in comparing.rendered.values())


def test_stopped_and_gone_on_is_the_same_as_never_stopped(comparing, tmp_path) -> None:
    with pytest.raises(Stopped):
        comparing(3, progress=stop_after(2), batch_size=2)
    comparing(3, batch_size=2)
    whole = tmp_path / "whole"
    comparing(3, batch_size=2, out=whole)
    assert comparing.files() == comparing.files(whole)


def test_pictures_of_a_killed_batch_that_are_complete_are_not_rendered_again(comparing) -> None:
    made = comparing(2)
    pictures = comparing.out / "pictures"
    batch = pictures / ".batch-0"
    batch.mkdir()
    jobs = [job for job in made.plan.jobs if job.batch == 0]
    for job in jobs:
        (pictures / f"{job.key}.png").rename(batch / f"{job.key}.png")
    (pictures / ".batch-1.part").mkdir()
    (pictures / ".batch-1.part" / "half.png").write_bytes(b"half")
    (pictures / ".x.abc.part").write_bytes(b"half")
    before = comparing.rendered
    assert comparing(2).complete
    assert comparing.rendered == before
    assert [one.name for one in pictures.iterdir() if one.name.startswith(".")] == []


def test_a_shard_sweeps_only_its_own_batches(comparing) -> None:
    comparing(4)
    pictures = comparing.out / "pictures"
    for number in (0, 1):
        (pictures / f".batch-{number}.part").mkdir()
    sweep(CompareFolder(comparing.out), [1])
    assert [one.name for one in pictures.iterdir() if one.name.startswith(".")] == [".batch-0.part"]


def test_a_torn_last_event_is_ignored(comparing) -> None:
    comparing(1)
    file = next((comparing.out / "events").iterdir())
    told = list(CompareFolder(comparing.out).read_events())
    file.write_bytes(file.read_bytes() + b'{"kind": "do')
    assert list(CompareFolder(comparing.out).read_events()) == told


def test_events_decide_nothing(comparing) -> None:
    made = comparing(1)
    for file in (comparing.out / "events").iterdir():
        file.unlink()
    assert comparing(1).complete
    (comparing.out / "pictures" / f"{made.plan.jobs[0].key}.png").unlink()
    assert comparing(1).complete
    assert comparing.rendered["scene-0 0"] == 2  # the batch as a whole: pixels depend on it
    assert (comparing.out / "pictures" / f"{made.plan.jobs[0].key}.png").exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"renderers": {"counting": {"tint": 0.4}}}, "systems.counting.options.tint was 0.9, now"),
        ({"seeds": [0, 2]}, "seeds was"),
        ({"steps": 2}, "steps was nothing, now 2"),
        ({"threads": 2}, "threads was 1, now 2"),
        ({"batch_size": 2}, "batch_size was 4, now 2"),
        ({"depth_models": "fake-depth"}, "counted-depth"),
        ({"renderers": {"counting": {"control": "off"}}}, 'control was "on", now "none"'),
    ],
)
def test_another_plan_is_refused_with_what_differs(comparing, changed, named) -> None:
    comparing(2)
    before = comparing.files()
    with pytest.raises(OptionError, match="holds another comparison") as caught:
        comparing(2, **changed)
    assert named in str(caught.value)
    assert comparing.files() == before


def test_another_layout_under_the_same_name_is_refused(comparing) -> None:
    comparing(2)
    with pytest.raises(OptionError, match=r"layouts.layout-1.sha256"):
        comparing(["scene-0", "another scene"])


def test_other_weights_are_refused(comparing) -> None:
    weights = comparing.folder / "weights.safetensors"
    weights.write_bytes(b"one" * 100)
    settings = {"renderers": {"counting": {"model": str(weights)}}}
    comparing(1, **settings)
    weights.write_bytes(b"two" * 100)
    with pytest.raises(OptionError, match=r"systems.counting.weights.*weights.safetensors"):
        comparing(1, **settings)


def test_another_version_is_refused(comparing) -> None:
    comparing(1)
    plan = comparing.out / "plan.json"
    plan.write_text(plan.read_text().replace('"numpy": "', '"numpy": "0'))
    with pytest.raises(OptionError, match=r"versions.numpy was "):
        comparing(1)


def test_a_folder_of_something_else_is_refused(comparing) -> None:
    comparing.out.mkdir()
    (comparing.out / "mine.txt").touch()
    with pytest.raises(OptionError, match="is not empty"):
        comparing(1)
    assert [one.name for one in comparing.out.iterdir()] == ["mine.txt"]


def test_the_shares_of_shards_are_all_jobs_once(comparing) -> None:
    whole = comparing(7, out=comparing.folder / "whole")
    for count in (2, 3, 5):
        shards = [Shard(number, count) for number in range(count)]
        for layout in whole.plan.layouts:
            assert sum(shard.has(layout) for shard in shards) == 1
