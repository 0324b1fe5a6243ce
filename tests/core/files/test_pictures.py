"""Pictures as cameras make them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threedis_core.errors import DepthError
from threedis_core.files.pictures import open_picture, upright

SIZE = (40, 30)


@pytest.fixture
def picture() -> Image.Image:
    levels = np.linspace(0, 255, SIZE[0] * SIZE[1]).astype(np.uint8)
    return Image.fromarray(levels.reshape(SIZE[::-1])).convert("RGB")


@pytest.mark.parametrize("name", ["phone.jpg", "phone.JPEG", "phone"])
def test_a_jpeg_of_a_phone_is_its_first_picture(name: str, picture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it 90 degrees clockwise to see it upright
    black = Image.new("RGB", SIZE)
    path = tmp_path / name
    picture.save(path, format="MPO", save_all=True, append_images=[black], exif=exif)
    with Image.open(path) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    found = open_picture(path, DepthError, "a photo")
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(picture)).max() < 20
    assert upright(found).size == (30, 40)


def test_such_a_jpeg_named_as_another_format_is_refused(picture, tmp_path: Path) -> None:
    path = tmp_path / "phone.png"
    picture.save(path, format="MPO", save_all=True, append_images=[picture])
    with pytest.raises(DepthError, match="its content is JPEG, its name says PNG"):
        open_picture(path, DepthError, "a photo")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("notes", [b"garbage", b"II*\0\x08\0\0\0\xff\xff"])
def test_notes_that_cannot_be_read_leave_a_picture_as_it_is(
    suffix: str, notes: bytes, picture, tmp_path: Path
) -> None:
    path = tmp_path / f"photo.{suffix}"
    picture.save(path, exif=b"Exif\0\0" + notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert upright(open_picture(path, DepthError, "a photo")).size == SIZE
