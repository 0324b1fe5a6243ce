"""``threedis depth estimate``, with the installed plugins and a tiny model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threedis_core import DepthMap, load_plugins
from threedis_core.cli import main
from threedis_core.errors import OptionError

SETTING = "--set"


@pytest.fixture
def photo(tmp_path, monkeypatch, pictures) -> Path:
    """A picture in the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    pictures[0].save("photo.png")
    return Path("photo.png")


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in ("depth", "estimate", *arguments)])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def test_a_photo_becomes_the_map_that_the_estimator_makes(
    photo, run, model_folders, pictures
) -> None:
    model = model_folders["dpt"]
    code, out, _ = run(photo, "--model", "dpt", SETTING, f"model={model}")
    assert (code, out) == (0, "photo-depth.png\n")
    wanted = load_plugins().depth_estimator("dpt", {"model": str(model)}).estimate(pictures[:1])[0]
    found = DepthMap.load("photo-depth.png")
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-4)


def test_depth_anything_is_the_one_that_is_used_when_none_is_named(
    photo, run, model_folders
) -> None:
    setting = f"depth-anything.model={model_folders['depth-anything']}"
    assert run(photo, SETTING, setting, "--out", "maps/one.png")[:2] == (0, "maps/one.png\n")
    assert DepthMap.load("maps/one.png").values.shape == (30, 40)


def test_a_photo_taken_with_the_camera_turned_is_turned_upright(
    photo, run, model_folders, pictures
) -> None:
    turned = pictures[0].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it 90 degrees clockwise to see it upright
    turned.save("turned.png", exif=exif)
    setting = f"model={model_folders['dpt']}"
    for name in ("photo.png", "turned.png"):
        assert run(name, "--model", "dpt", SETTING, setting)[0] == 0
    assert Path("turned-depth.png").read_bytes() == Path("photo-depth.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "dtp"], "Unknown depth estimator 'dtp'"),
        (["--model", "dpt", SETTING, "modle=x"], "Unknown option 'modle'"),
        (["--model", "dpt", SETTING, "sd15.model=x"], "'sd15' is not chosen"),
        (["--model", "dpt", SETTING, "model"], "expected option=value"),
        (["--out", "depth.jpg"], "ends in .png"),
        (["--model", "ldm3d"], "Unknown depth estimator 'ldm3d'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(photo, run, arguments, said) -> None:
    code, out, err = run(photo, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_is_no_photo_is_refused(photo, run) -> None:
    Path("text.png").write_text("a photo, honestly")
    Image.new("RGBA", (40, 30), (9, 9, 9, 9)).save("clear.png")
    for name, said in (("text.png", "not a picture"), ("clear.png", "transparency")):
        code, _, err = run(name, "--model", "dpt")
        assert code == 2
        assert said in err
    assert run("nothing.png")[0] == 2


def test_the_photo_is_not_overwritten_by_its_map(photo, run) -> None:
    before = photo.read_bytes()
    Path("link.png").symlink_to(photo)
    for out in ("photo.png", Path.cwd() / "photo.png", "link.png"):
        code, printed, err = run(photo, "--model", "dpt", "--out", out)
        assert (code, printed) == (2, "")
        assert "it is the file that is read; choose another name" in err
        assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "picture", "said"),
    [
        ("line.png", Image.new("RGB", (600, 10)), "600x10 pixels; expected one side at most 16"),
        ("deep.tif", Image.new("F", (40, 30), 7.0), "a picture of mode 'F' with values from 7 to"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(name, picture, said, photo, run) -> None:
    picture.save(name)
    code, _, err = run(name, "--model", "dpt")
    assert code == 2
    assert f"{name}: {said}" in err
    assert err.count("\n") == 1


def test_a_wrong_device_is_not_blamed_on_the_photo(photo, run) -> None:
    code, _, err = run(photo, "--model", "dpt", SETTING, "device=cuda:77")
    assert code == 2
    assert "no such device" in err
    assert "photo.png" not in err


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("notes", [b"garbage", b"II*\0\x08\0\0\0\xff\xff"])
@pytest.mark.filterwarnings("error")
def test_broken_notes_in_a_photo_change_nothing(
    suffix, notes, photo, run, model_folders, pictures
) -> None:
    pictures[0].save(f"odd.{suffix}", exif=b"Exif\0\0" + notes)
    settings = ("--model", "dpt", SETTING, f"model={model_folders['dpt']}")
    assert run(f"odd.{suffix}", *settings) == (0, "odd-depth.png\n", "")


@pytest.mark.parametrize("name", ["midas", "zoe", "leres"])
def test_a_detector_without_its_package_says_what_to_install(name, pictures, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "controlnet_aux", None)
    estimator = load_plugins().depth_estimator(name)
    with pytest.raises(OptionError, match=r"pip install 'threedis\[controlnet-aux\]'"):
        estimator.estimate(pictures[:1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "dpt"), "cannot get 'config.json' of repository 'Intel/dpt-large'"),
        (("--set", "model=nowhere/at/all"), "model folder 'nowhere/at/all' is not there"),
        (("--set", "model=."), "has no file 'config.json'"),
    ],
)
def test_a_model_that_is_not_there_is_said_before_torch_is_imported(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    code = (
        "import sys, threedis_core.cli as cli\n"
        "try:\n    cli.main(sys.argv[1:])\n"
        "finally:\n    print('torch' in sys.modules, 'diffusers' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "depth", "estimate", "photo.png", *arguments],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in finished.stderr
    assert (finished.returncode, finished.stdout) == (1, "False False\n")
