"""A run that was stopped goes on where it stopped, and a killed one loses and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from threedis_core import OptionError, RenderError, render
from threedis_core.run.folder import BATCH, CLAIM, PART, RUN_JSON
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
TIMES = {"created", "seconds"}


class StoppedError(Exception):
    """What ends a run in these tests."""


def stop_after(pictures: int) -> Any:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == "pictures" and done >= pictures:
            raise StoppedError

    return progress


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.name: path.stat() for path in folder.glob("*-seed*.png")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def assert_same_runs(one: Path, other: Path) -> None:
    first, second = files(one), files(other)
    records = [json.loads(some.pop(RUN_JSON)) for some in (first, second)]
    for record in records:
        assert record["finished"]
        for name in TIMES:
            del record[name]
    assert records[0] == records[1]
    assert first == second


@pytest.fixture
def asked(extras) -> dict[str, Any]:
    return {
        "depth_model": "fake-depth",
        "depth_cache": False,
        "renderers": {"recording": {}, "repeating": {"tint": 0.3}},
        "seeds": [4, 1, 0],
        "batch_size": 2,
        "control": "both",
        "registry": extras,
    }


@pytest.mark.parametrize("pictures", [1, 2, 3, 5, 8, 12])
def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(
    asked, calls, tmp_path, pictures
) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with pytest.raises(StoppedError):
        render(LAYOUT, out=broken, progress=stop_after(pictures), **asked)
    before = identities(broken)
    assert len(before) >= pictures
    calls.clear()
    run = render(LAYOUT, out=broken, **asked)
    assert run.kept == len(before)
    assert identities(broken).items() >= before.items(), "no picture was written again"
    rendered = sum(len(seeds) for what, seeds in calls if what == "render")
    assert rendered == max(0, 6 - len(before)), "no picture was made again"
    fresh = render(LAYOUT, out=whole, **asked)
    assert fresh.kept == 0
    assert_same_runs(broken, whole)
    assert [image.file.name for image in run.images] == [one.file.name for one in fresh.images]
    assert run.warnings == fresh.warnings
    pixels = [image.provenance["pixel_checksum"] for image in run.images]
    assert pixels == [image.provenance["pixel_checksum"] for image in fresh.images]


def test_a_finished_run_is_left_as_it_is(asked, calls, tmp_path) -> None:
    first = render(LAYOUT, out=tmp_path / "run", **asked)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    calls.clear()
    again = render(LAYOUT, out=tmp_path / "run", **asked)
    assert (again.kept, calls) == (len(first.images), [])
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before
    assert again.record == first.record
    assert again.sheet == first.sheet


def test_a_picture_that_was_removed_is_made_again_with_its_batch(asked, calls, tmp_path) -> None:
    render(LAYOUT, out=tmp_path / "run", **asked)
    whole = files(tmp_path / "run")
    (tmp_path / "run" / "recording-seed1.png").unlink()
    calls.clear()
    run = render(LAYOUT, out=tmp_path / "run", **asked)
    assert run.kept == len(run.images) - 1
    assert [seeds for what, seeds in calls if what == "render"] == [[4, 1]]
    again = files(tmp_path / "run")
    assert {name for name in whole if again[name] != whole[name]} <= {RUN_JSON}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [4, 1]}, r"seeds was \[4, 1, 0\], now \[4, 1\]"),
        ({"steps": 2}, "steps was nothing, now 2"),
        ({"control": "on"}, 'control was "both", now "on"'),
        ({"renderers": {"recording": {"tint": 0.9}, "repeating": {"tint": 0.3}}}, "tint was"),
        ({"renderers": ["recording"]}, "renderers.repeating"),
        ({"depth_seed": 7}, "depth_seed was 0, now 7"),
        ({"width": 72, "height": 72}, "width was nothing, now 72"),
        ({"negative_prompt": "fog"}, 'negative_prompt was nothing, now "fog"'),
        ({"region_refiner": "depth-edges"}, 'region_refiner.name was "boxes"'),
        ({"depth_model": None, "depth": DEPTH}, "depth checksum was"),
    ],
)
def test_another_command_is_refused_with_what_differs(asked, tmp_path, changes, message) -> None:
    with pytest.raises(StoppedError):
        render(LAYOUT, out=tmp_path / "run", progress=stop_after(2), **asked)
    before = files(tmp_path / "run")
    with pytest.raises(OptionError, match=message) as caught:
        render(LAYOUT, out=tmp_path / "run", **{**asked, **changes})
    assert "run holds another run: " in str(caught.value)
    assert "Choose another folder with --out" in str(caught.value)
    assert files(tmp_path / "run") == before


def test_another_layout_is_refused(asked, tmp_path) -> None:
    render(LAYOUT, out=tmp_path / "run", **asked)
    one, two = LAYOUT.instances
    moved = two.model_copy(update={"prompt": "a green cone"})
    other = LAYOUT.model_copy(update={"instances": (one, moved)})
    message = r'run: layout\.instances\[1\]\.prompt was "[^"]*", now "a green cone"\. Choose'
    with pytest.raises(OptionError, match=message):
        render(other, out=tmp_path / "run", **asked)
    fewer = LAYOUT.model_copy(update={"instances": (one,)})
    with pytest.raises(OptionError, match=r"layout\.instances were 2, now 1"):
        render(fewer, out=tmp_path / "run", **asked)
    other = LAYOUT.model_copy(update={"prompt": "something else"})
    with pytest.raises(OptionError, match=r'layout\.prompt was "solids on a floor", now "somethi'):
        render(other, out=tmp_path / "run", **asked)


def test_what_somebody_changed_is_neither_used_nor_overwritten(asked, tmp_path) -> None:
    out = tmp_path / "run"
    render(LAYOUT, out=out, **asked)
    mine = Image.new("RGB", (64, 64), (1, 2, 3))
    mine.save(out / "recording-seed1.png")
    with pytest.raises(OptionError, match=r"recording-seed1\.png is not what the run has written"):
        render(LAYOUT, out=out, **asked)
    assert Image.open(out / "recording-seed1.png").getpixel((0, 0)) == (1, 2, 3)
    (out / "recording-seed1.png").unlink()
    sample_depth(sample_layout(1), 64, 64).save(out / "depth.png")
    with pytest.raises(OptionError, match=r"depth\.png is not what the run has written"):
        render(LAYOUT, out=out, **asked)


@pytest.mark.parametrize("length", [0, 5, 60, -20])
def test_a_torn_picture_is_none_and_is_made_again(asked, calls, tmp_path, length) -> None:
    out = tmp_path / "run"
    render(LAYOUT, out=out, **asked)
    whole = files(out)
    (out / "recording-seed1.png").write_bytes(whole["recording-seed1.png"][:length])
    calls.clear()
    run = render(LAYOUT, out=out, **asked)
    assert run.kept == len(run.images) - 1
    assert [seeds for what, seeds in calls if what == "render"] == [[4, 1]]
    again = files(out)
    assert {name for name in whole if again[name] != whole[name]} <= {RUN_JSON}


@pytest.mark.parametrize("content", [b"mine", b"\xff\xd8\xff and more"])
def test_what_is_no_picture_of_a_run_is_not_overwritten(asked, tmp_path, content) -> None:
    out = tmp_path / "run"
    render(LAYOUT, out=out, **asked)
    (out / "recording-seed1.png").write_bytes(content)
    with pytest.raises(OptionError, match=r"recording-seed1\.png is not what the run has written"):
        render(LAYOUT, out=out, **asked)
    assert (out / "recording-seed1.png").read_bytes() == content


def test_a_folder_of_something_else_is_no_run(asked, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RUN_JSON).write_text('{"my": "own"}')
    with pytest.raises(OptionError, match=r"its run\.json was not written by ThreeDIS"):
        render(LAYOUT, out=tmp_path / "run", **asked)


def test_leftovers_of_a_run_killed_before_its_first_picture_are_in_nobodys_way(
    asked, tmp_path
) -> None:
    out = tmp_path / "run"
    (out / (BATCH + PART)).mkdir(parents=True)
    (out / (BATCH + PART) / "fake-seed0.png").write_bytes(b"half")
    for name in (CLAIM, f".run.json.12345678{PART}"):
        (out / name).write_bytes(b"")
    render(LAYOUT, out=out, **asked)
    assert not [name for name in files(out) if name.startswith(".")]


def test_a_batch_that_cannot_be_written_appears_not_even_in_part(
    asked, tmp_path, monkeypatch
) -> None:
    from threedis_core.run.record import files as writing

    write = writing.write_png
    written: list[str] = []

    def fail_at_the_second(path: Path, **arguments: Any) -> None:
        if "-seed" in path.name:
            written.append(path.name)
            if len(written) == 4:
                raise OSError(28, "No space left on device")
        write(path, **arguments)

    monkeypatch.setattr(writing, "write_png", fail_at_the_second)
    with pytest.raises(RenderError, match="cannot be written: No space left"):
        render(LAYOUT, out=tmp_path / "run", **{**asked, "seeds": [0, 1, 2, 3]})
    assert set(identities(tmp_path / "run")) == {"recording-seed0.png", "recording-seed1.png"}
    assert not [name for name in files(tmp_path / "run") if name.startswith(".")]


KILLED = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from threedis_core import DepthMap, render
from threedis_core.testing import FakeRenderer, sample_layout

renders = FakeRenderer.render

def noted(self, requests, progress):
    made = renders(self, requests, progress)
    time.sleep(0.02)
    return made

FakeRenderer.render = noted
print("go", flush=True)
layout = sample_layout(2)
render(layout, depth=DepthMap.load("depth.png"), renderers=["fake", "pale"], seeds=range(6),
       batch_size=2, out="run")
"""


def test_a_run_killed_again_and_again_loses_and_repeats_nothing(
    registry, plugins, tmp_path
) -> None:
    DEPTH.save(tmp_path / "depth.png")
    command = [sys.executable, "-c", KILLED, str(plugins.path)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    out = tmp_path / "run"
    seen: dict[str, tuple[int, int]] = {}
    kills = 0
    for delay in (0.05, 0.1, 0.2, 0.03, 0.15):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        now = identities(out) if out.exists() else {}
        assert now.items() >= seen.items(), "a picture was lost, or written again"
        seen = now
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE)
    assert identities(out).items() >= seen.items()
    assert len(identities(out)) == 12
    os.rename(out, tmp_path / "broken")
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE)
    assert_same_runs(tmp_path / "broken", out)
    assert kills >= 1
