from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from threedis_core import (
    DepthMap,
    Layout,
    OptionError,
    RenderError,
    render,
)
from threedis_core.run.folder import RunFolder, default_run_folder
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
NOW = datetime(2025, 1, 2, 3, 4, 5)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_existing_run_is_never_overwritten(registry, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    with pytest.raises(OptionError, match="not empty"):
        render(LAYOUT, depth=DEPTH, renderers=["fake"], out=tmp_path / "run", registry=registry)
    assert files(tmp_path / "run") == {"mine.txt"}
    with pytest.raises(OptionError, match="is a file"):
        render(
            LAYOUT,
            depth=DEPTH,
            renderers=["fake"],
            out=tmp_path / "run" / "mine.txt",
            registry=registry,
        )


def test_default_folders_are_taken_at_once_and_do_not_collide(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        default_run_folder("A red cube, and é!", NOW) as first,
        default_run_folder("A red cube, and é!", NOW) as second,
        default_run_folder("A red cube, and é!", NOW) as third,
    ):
        assert first == Path("runs/20250102-030405-a-red-cube-and")
        assert [second.name[-2:], third.name[-2:]] == ["-2", "-3"]
        with default_run_folder("红色", NOW) as other:
            assert other.name == "20250102-030405-layout"
        (second / "picture.png").write_bytes(b"x")
    assert files(tmp_path / "runs") == {second.name}, "what stayed empty is gone"


def test_a_run_that_wrote_nothing_leaves_no_default_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), default_run_folder("a", NOW):
        raise KeyboardInterrupt
    assert files(tmp_path) == set()
    Path("runs").write_text("mine")
    with (
        pytest.raises(OptionError, match="runs is a file; expected a folder"),
        default_run_folder("a", NOW),
    ):
        raise AssertionError("not reached")


def test_while_a_run_is_at_work_no_other_one_gets_its_folder(registry, tmp_path) -> None:
    out = tmp_path / "deep" / "run"
    refused: list[str] = []

    def another_run(*_: object) -> None:
        with pytest.raises(OptionError, match="another run is writing into it") as caught:
            render(LAYOUT, depth=DEPTH, renderers=["pale"], out=out, registry=registry)
        refused.append(str(caught.value))

    asked = {"renderers": ["fake"], "out": out, "registry": registry}
    render(LAYOUT, depth=DEPTH, progress=another_run, **asked)
    assert refused
    assert "fake-seed0.png" in files(out)
    assert not {name for name in files(out) if name.startswith((".", "pale"))}


def test_a_folder_that_somebody_fills_at_the_last_moment_is_left_alone(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "run").mkdir()

    class Late(FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            (tmp_path / "run" / "theirs.txt").write_text("theirs")
            return super().acquire(*arguments, **options)

    monkeypatch.setattr("threedis_core.run.folder.FileLock", Late)
    with (
        pytest.raises(OptionError, match="run is not empty"),
        RunFolder.claimed(tmp_path / "run"),
    ):
        raise AssertionError("not reached")
    assert files(tmp_path / "run") == {"theirs.txt"}


def test_a_run_that_fails_before_its_first_picture_leaves_no_folder(extras, tmp_path) -> None:
    asked = {"depth": DEPTH, "renderers": ["failing"], "registry": extras}
    with pytest.raises(RenderError):
        render(LAYOUT, out=tmp_path / "deep" / "run", **asked)
    assert files(tmp_path) == {"site"}
    (tmp_path / "mine").mkdir()
    with pytest.raises(RenderError):
        render(LAYOUT, out=tmp_path / "mine", **asked)
    assert files(tmp_path / "mine") == set()


def test_a_dangling_link_is_found_before_the_render(extras, tmp_path, calls) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(OptionError, match="link"):
        render(LAYOUT, depth=DEPTH, renderers=["recording"], out=tmp_path / "link", registry=extras)
    assert calls == []


DEFAULT_FOLDERS = """
import sys
from datetime import datetime
from threedis_core.run.folder import RunFolder, default_run_folder
for turn in range(int(sys.argv[1])):
    with default_run_folder("a", datetime(2025, 1, 2)) as folder:
        assert folder.is_dir(), folder
"""


def test_processes_that_ask_for_a_default_folder_at_once_all_get_one(tmp_path) -> None:
    command = [sys.executable, "-c", DEFAULT_FOLDERS, "300"]
    running = [
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert not (tmp_path / "runs").exists()


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from threedis_core import render, RenderError
from threedis_core.testing import sample_depth, sample_layout
layout = sample_layout(1).model_copy(update={"prompt": "a prompt of many words " * 1000})
depth = sample_depth(layout, 64, 64)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    render(layout, depth=depth, renderers=["fake"], out="run")
except RenderError as error:
    print(error)
    print(error.code, error.file, error.hint)
"""


@pytest.mark.parametrize(("room", "file"), [(0, "run.json"), (15000, "layout.json")])
def test_a_full_disk_is_told_with_the_file(plugins, registry, tmp_path, room, file) -> None:
    path = os.pathsep.join([str(plugins.path), *filter(None, sys.path)])
    command = [sys.executable, "-c", FULL_DISK, str(room)]
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    hint = "make room, or choose another folder with --out"
    line = f"run/{file} cannot be written: File too large; {hint}\n"
    assert done.stdout == line + f"file-not-written run/{file} {hint}\n", done.stderr
    assert files(tmp_path) == {"site"}


def test_a_place_that_cannot_be_written_is_refused_before_rendering(
    extras, tmp_path, calls
) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "run"
    with pytest.raises(OptionError, match="is no folder"):
        render(LAYOUT, depth=DEPTH, renderers=["recording"], out=out, registry=extras)
    assert calls == []


def test_a_run_folder_holds_everything_and_nothing_half(registry, tmp_path) -> None:
    out = tmp_path / "deep" / "run"
    run = render(LAYOUT, depth=DEPTH, renderers=["fake"], seeds=[0, 7], out=out, registry=registry)
    assert files(out) == {
        "run.json",
        "layout.json",
        "layout.png",
        "depth.png",
        "regions.png",
        "sheet.png",
        "fake-seed0.png",
        "fake-seed7.png",
    }
    assert Layout.load(out / "layout.json") == LAYOUT
    assert DepthMap.load(out / "depth.png").checksum() == run.depth.checksum()
    for image in run.images:
        assert np.array_equal(np.asarray(Image.open(image.file)), np.asarray(image.image))


def test_finished_pictures_stay_when_a_later_renderer_fails(extras, tmp_path) -> None:
    with pytest.raises(RenderError):
        render(
            LAYOUT,
            depth=DEPTH,
            renderers=["fake", "failing"],
            out=tmp_path / "run",
            registry=extras,
        )
    assert "fake-seed0.png" in files(tmp_path / "run")
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["finished"]


def test_a_renderer_that_leaves_the_working_directory_takes_no_file_along(
    extras, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = render(LAYOUT, depth=DEPTH, renderers=["wandering"], out="run", registry=extras)
    assert run.images[0].file == Path("run/wandering-seed0.png")
    assert "run.json" in files(tmp_path / "run")
