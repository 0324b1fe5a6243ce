"""DepthMap: values, files, sizes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from threedis_core.errors import DepthError
from threedis_core.values.depth import DepthMap

RAMP = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(0, 1, width=32),
).map(DepthMap)


def picture(folder: Path, pixels: np.ndarray, name: str = "depth.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@given(maps)
def test_a_png_keeps_depth_to_one_in_65535(depth: DepthMap) -> None:
    with tempfile.TemporaryDirectory() as folder:
        depth.save(Path(folder) / "depth.png", {"seed": "3", "who": "Jürgen 赤"})
        assert os.listdir(folder) == ["depth.png"]
        loaded = DepthMap.load(Path(folder) / "depth.png")
    assert np.abs(loaded.values - depth.values).max() <= 0.5001 / 65535


def test_all_65536_steps_survive_a_round_trip(tmp_path: Path) -> None:
    depth = DepthMap(np.arange(65536, dtype=np.float32).reshape(256, 256) / np.float32(65535))
    depth.save(tmp_path / "depth.png")
    assert DepthMap.load(tmp_path / "depth.png").checksum() == depth.checksum()


def test_metadata_is_stored_as_png_text(tmp_path: Path) -> None:
    DepthMap(RAMP).save(tmp_path / "depth.png", {"model": "ünïcode 赤"})
    with Image.open(tmp_path / "depth.png") as image:
        assert image.text["model"] == "ünïcode 赤"


def test_values_are_a_read_only_copy() -> None:
    source = RAMP.copy()
    depth = DepthMap(source)
    source[:] = 0
    assert (depth.values == RAMP).all()
    assert (depth.height, depth.width) == (5, 7)
    with pytest.raises(ValueError, match="read-only"):
        depth.values[0, 0] = 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((2, 2), np.nan), "NaN or infinite"),
        (np.array([[0, np.inf]]), "NaN or infinite"),
        (np.array([[0, 1.5]]), "values from 0 to 1.5; expected [0, 1] with 1 nearest"),
        (np.array([[-0.5, 1]]), "DepthMap.normalise"),
        (np.zeros(4), "shape (4,); expected (height, width)"),
        (np.zeros((2, 2, 3)), "shape (2, 2, 3)"),
        (np.zeros((0, 4)), "expected 1 to 16384 pixels a side"),
        (np.zeros((1, 16385)), "expected 1 to 16384 pixels a side"),
        ([["a"]], "no array of numbers"),
        ([[0], [0, 1]], "no array of numbers"),
    ],
)
def test_wrong_values_are_refused(values: object, said: str) -> None:
    with pytest.raises(DepthError) as caught:
        DepthMap(values)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_8_bit_pictures_are_divided_by_255(tmp_path: Path, mode: str) -> None:
    pixels = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "depth.png")
    assert np.allclose(DepthMap.load(tmp_path / "depth.png").values, pixels / 255, atol=1e-6)


def test_a_jpeg_is_read_too(tmp_path: Path) -> None:
    path = picture(tmp_path, np.full((16, 16), 128, dtype=np.uint8), "depth.jpg")
    assert np.allclose(DepthMap.load(path).values, 128 / 255, atol=2 / 255)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RAMP, RAMP),
        (RAMP.astype(np.float64), RAMP),
        (RAMP[None], RAMP),
        (RAMP[..., None], RAMP),
        (np.asfortranarray(RAMP), RAMP),
        (np.array([[0, 255]], dtype=np.uint8), [[0, 1]]),
        (np.array([[0, 65535]], dtype=np.uint16), [[0, 1]]),
        (np.array([[0, 65535]], dtype=">u2"), [[0, 1]]),
        (np.array([[False, True]]), [[0, 1]]),
    ],
)
def test_arrays_are_scaled_by_their_type(
    tmp_path: Path, array: np.ndarray, expected: np.ndarray
) -> None:
    np.save(tmp_path / "depth.npy", array)
    assert np.allclose(DepthMap.load(tmp_path / "depth.npy").values, expected, atol=1e-6)


def test_wrong_files_are_refused_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = picture(tmp_path, rng.integers(0, 255, (64, 64), dtype=np.uint8), "whole.png")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "json.png").write_text('{"prompt": "a"}')
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "png.npy").write_bytes(whole.read_bytes())
    (tmp_path / "png.jpg").write_bytes(whole.read_bytes())
    np.save(tmp_path / "range.npy", RAMP * 20)
    np.save(tmp_path / "nan.npy", RAMP * np.nan)
    np.save(tmp_path / "int.npy", np.zeros((2, 2), dtype=np.int32))
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    np.save(tmp_path / "batch.npy", np.zeros((2, 3, 4)))
    np.savez(tmp_path / "several", a=RAMP)
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    picture(tmp_path, rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), "colour.png")
    picture(tmp_path, np.zeros((8, 8, 4), dtype=np.uint8), "clear.png")
    Image.new("1", (20_000, 4)).save(tmp_path / "wide.png")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    said = {
        "missing.png": "no such file",
        "cut.png": "damaged picture",
        "json.png": "not a picture that can be read; expected a depth map as PNG or JPEG",
        "empty.npy": "the file is empty",
        "png.npy": "no readable .npy array",
        "png.jpg": "its content is PNG, its name says JPEG; rename the file",
        "range.npy": "values from 0 to 20; expected [0, 1]",
        "nan.npy": "NaN or infinite",
        "int.npy": "values of type int32; expected uint8, uint16, bool or float",
        "object.npy": "no readable .npy array",
        "batch.npy": "shape (2, 3, 4)",
        "several.npy": "an archive of several arrays",
        "colour.png": "a coloured picture",
        "clear.png": "has transparency",
        "wide.png": "20000x4 pixels; expected 1 to 16384 pixels a side",
        "large.png": "10000x10000 pixels; expected 1 to 16384 pixels a side and at most",
    }
    for name, text in said.items():
        with pytest.raises(DepthError) as caught:
            DepthMap.load(tmp_path / name)
        assert text in str(caught.value), name
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@given(st.binary(max_size=100), st.integers(0, 400), st.sampled_from([".png", ".npy", ".jpg"]))
def test_damaged_files_give_a_depth_error_or_a_map(junk: bytes, where: int, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"depth{suffix}"
        if suffix == ".npy":
            np.save(path, RAMP)
        else:
            Image.fromarray((RAMP * 255).astype(np.uint8)).save(path)
        content = path.read_bytes()
        path.write_bytes(content[:where] + junk + content[where + len(junk) :])
        try:
            depth = DepthMap.load(path)
        except DepthError:
            return
        assert depth.values.ndim == 2


def test_saving_needs_a_png_name_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DepthError, match=r"name the file \*\.png"):
        DepthMap(RAMP).save(tmp_path / "depth.jpg")
    with pytest.raises(DepthError, match="cannot be written"):
        DepthMap(RAMP).save(tmp_path / "missing" / "depth.png")
    assert os.listdir(tmp_path) == []


def test_resizing_is_bilinear_and_stays_in_range() -> None:
    depth = DepthMap(np.array([[0, 1]], dtype=np.float32))
    wide = depth.resize(4, 1)
    assert np.allclose(wide.values, [[0, 0.25, 0.75, 1]])
    assert np.allclose(wide.resize(1, 1).values, 0.5)
    assert depth.resize(2, 1) is depth
    with pytest.raises(DepthError, match="expected 1 to 16384"):
        depth.resize(0, 1)


@given(maps, st.integers(1, 12), st.integers(1, 12))
def test_any_resize_gives_a_valid_map(depth: DepthMap, width: int, height: int) -> None:
    assert depth.resize(width, height).values.shape == (height, width)


def test_the_image_is_8_bit_rgb_and_near_is_bright() -> None:
    image = DepthMap(RAMP).to_image()
    assert (image.mode, image.size) == ("RGB", (7, 5))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((6, 4)) == (255, 255, 255)


def test_normalising_stretches_to_0_and_1() -> None:
    metres = np.array([[2.0, 4.0, 10.0]])
    assert np.allclose(DepthMap.normalise(metres).values, [[0, 0.25, 1]])
    assert np.allclose(DepthMap.normalise(metres, invert=True).values, [[1, 0.75, 0]])
    assert np.allclose(DepthMap.normalise(np.full((2, 2), 7)).values, 0)
    assert np.allclose(DepthMap.normalise([[-1.7e308, 1.7e308]]).values, [[0, 1]])
    with pytest.raises(DepthError, match="expected finite"):
        DepthMap.normalise([[np.nan]])


def test_the_checksum_tells_values_and_shapes_apart() -> None:
    depth = DepthMap(RAMP)
    assert depth.checksum() == DepthMap(RAMP.copy()).checksum()
    assert depth.checksum() != DepthMap(RAMP.reshape(7, 5)).checksum()
    assert depth.checksum() != DepthMap(1 - RAMP).checksum()
    assert len(depth.checksum()) == 64


@pytest.mark.parametrize("mode", ["LAB", "CMYK", "YCbCr", "I;16B", "I", "RGBX"])
def test_tiffs_of_other_modes_are_read_or_refused_in_one_line(tmp_path: Path, mode: str) -> None:
    grey = (100, 128, 128) if mode in ("LAB", "YCbCr") else 0
    Image.new(mode, (8, 8), grey).save(tmp_path / "depth.tiff")
    if mode == "LAB":
        with pytest.raises(DepthError, match="a picture of mode LAB; expected a grey one"):
            DepthMap.load(tmp_path / "depth.tiff")
    else:
        assert DepthMap.load(tmp_path / "depth.tiff").values.shape == (8, 8)


def test_arrays_of_wide_numbers_or_values_beyond_float32_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 2), dtype=np.longdouble))
    np.save(tmp_path / "large.npy", np.full((2, 2), 1e300))
    np.save(tmp_path / "named.npy", np.zeros(2, dtype=[("x" * 200 + "\n", "f4")]))
    with pytest.raises(DepthError, match="values of type float128"):
        DepthMap.load(tmp_path / "wide.npy")
    with pytest.raises(DepthError, match="NaN or infinite"):
        DepthMap.load(tmp_path / "large.npy")
    with pytest.raises(DepthError) as caught:
        DepthMap.load(tmp_path / "named.npy")
    assert str(caught.value).isprintable()


def test_an_array_whose_header_is_huge_or_promises_too_much_is_refused(tmp_path: Path) -> None:
    start = b"\x93NUMPY\x02\x00"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }"
    (tmp_path / "promise.npy").write_bytes(start + len(header).to_bytes(4, "little") + header)
    (tmp_path / "header.npy").write_bytes(start + (10**6).to_bytes(4, "little") + b" " * 10**6)
    for name in ("promise.npy", "header.npy"):
        with pytest.raises(DepthError, match=r"no readable \.npy array"):
            DepthMap.load(tmp_path / name)


def test_a_frozen_array_is_taken_as_it_is_and_a_view_of_one_is_copied() -> None:
    values = RAMP.copy()
    values.setflags(write=False)
    assert DepthMap(values).values is values
    part = RAMP.copy()[:2]
    part.setflags(write=False)
    assert DepthMap(part).values is not part


@given(maps)
def test_work_by_rows_gives_what_work_on_the_whole_would(depth: DepthMap) -> None:
    values = depth.values.astype(np.float64)
    assert (depth.rounded().values == (np.rint(values * 65535) / 65535).astype(np.float32)).all()
    tall = np.repeat(depth.values, 300, axis=0)
    low, high = tall.min(), tall.max()
    if high > low:
        low, high = np.float64(low), np.float64(high)  # half of the least float32 would be 0
        expected = (tall.astype(np.float64) / 2 - low / 2) / (high / 2 - low / 2)
        assert np.allclose(DepthMap.normalise(tall).values, expected, atol=1e-6)


def test_a_header_whose_numbers_overflow_is_refused_without_a_word_of_numpys(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    file = tmp_path / "huge.npy"
    np.save(file, np.zeros((2, 2), np.float32))
    content = file.read_bytes()
    shape = b"(2, 2), }" + b" " * 40
    assert shape in content
    huge = f"({2**62}, {2**62}), }}".encode()
    file.write_bytes(content.replace(shape, huge + b" " * (len(shape) - len(huge))))
    with pytest.raises(DepthError):
        DepthMap.load(file)
    assert not recwarn.list


def grey_scene(side: int) -> np.ndarray:
    """A floor that comes nearer and a ball on it, shape (side, side, 3), uint8."""
    y, x = np.mgrid[0:side, 0:side] / side
    depth = 0.1 + 0.5 * y + 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.05)
    return np.repeat((depth * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("side", [32, 128, 200, 512])
@pytest.mark.parametrize(
    ("noise", "options"),
    [
        (0, {"format": "PNG"}),
        (0, {"format": "JPEG", "quality": 5}),
        (0, {"format": "WEBP", "quality": 10}),
        (2, {"format": "PNG"}),
        (2, {"format": "JPEG", "quality": 90, "subsampling": 0}),
        (8, {"format": "JPEG", "quality": 20}),
    ],
)
def test_grey_with_a_little_colour_noise_is_depth(
    tmp_path: Path, side: int, noise: float, options: dict
) -> None:
    scene = grey_scene(side)
    speckled = scene + np.random.default_rng(side).normal(0, noise, scene.shape)
    file = tmp_path / f"depth.{options['format'].lower()}"
    Image.fromarray(speckled.clip(0, 255).astype(np.uint8)).save(file, **options)
    near = scene[..., 0] / 255
    assert np.abs(DepthMap.load(file).values - near).mean() < 0.05


def test_a_grey_rgb_picture_of_8_or_16_bits_is_depth(tmp_path: Path) -> None:
    scene = grey_scene(64)
    Image.fromarray(scene).save(tmp_path / "rgb.png")
    wide = scene[..., 0].astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide).save(tmp_path / "wide.tiff")
    for name in ("rgb.png", "wide.png", "wide.tiff"):
        assert np.allclose(DepthMap.load(tmp_path / name).values, scene[..., 0] / 255, atol=1e-3)


@pytest.mark.parametrize("side", [64, 128, 500])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_with_one_coloured_thing_is_no_depth(
    tmp_path: Path, side: int, suffix: str
) -> None:
    room = grey_scene(side)
    room[side // 2 : side // 2 + side // 10, : side // 10] = (200, 40, 40)
    file = tmp_path / f"my photo.{suffix}"
    Image.fromarray(room).save(file)
    with pytest.raises(DepthError, match="a coloured picture; expected a grey one") as caught:
        DepthMap.load(file)
    assert f"threedis depth estimate '{file}'" in str(caught.value)


@pytest.mark.parametrize(
    "colours",
    [
        [(68, 1, 84), (33, 145, 140), (253, 231, 37)],  # as viridis
        [(0, 0, 128), (0, 255, 255), (255, 255, 0), (128, 0, 0)],  # as jet
        [(0, 0, 0), (81, 81, 113), (166, 198, 198), (255, 255, 255)],  # as bone: nearly grey
        [(0, 34, 78), (124, 123, 120), (254, 232, 56)],  # as cividis
    ],
)
def test_depth_in_the_colours_of_a_map_is_refused(
    tmp_path: Path, colours: list[tuple[int, int, int]]
) -> None:
    near = grey_scene(128)[..., 0] / 255
    at = np.linspace(0, 1, len(colours))
    mapped = np.stack(
        [np.interp(near, at, channel) for channel in zip(*colours, strict=True)], axis=-1
    )
    file = picture(tmp_path, mapped.astype(np.uint8))
    with pytest.raises(DepthError, match="save it without a colour map"):
        DepthMap.load(file)
