"""The drawing of a layout: sizes, labels that fit, letters of every script."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageChops

from threedis_core.drawing.labels import place_labels
from threedis_core.drawing.layout import PAPER, draw_layout, has_room_for_prompts
from threedis_core.drawing.lettering import Lettering, wrap
from threedis_core.drawing.regions import draw_named_regions
from threedis_core.values.layout import Box, Instance, Layout
from threedis_core.values.palette import instance_color
from threedis_core.values.regions import Regions


def layout(*instances: tuple[str, list[float]]) -> Layout:
    return Layout.from_dict(
        {"prompt": "p", "instances": [{"prompt": text, "box": box} for text, box in instances]}
    )


ONE = layout(("a red cube", [0.25, 0.25, 0.75, 0.75]))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((512, 512), (512, 512)),
        ((128, 128), (512, 512)),
        ((128, 64), (512, 256)),
        ((1000, 700), (1000, 700)),
        ((4096, 2048), (2048, 1024)),
        ((16384, 1), (2048, 1)),
        ((1, 1), (512, 512)),
    ],
)
def test_the_drawing_keeps_the_proportions(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    image = draw_layout(ONE, *size)
    assert (image.mode, image.size) == ("RGB", drawn)


def test_the_box_stands_where_the_layout_says() -> None:
    image = draw_layout(ONE, 512, 512)
    changed = ImageChops.difference(image, Image.new("RGB", image.size, PAPER)).getbbox()
    assert changed is not None
    assert np.abs(np.array(changed) - [128, 128, 384, 384]).max() <= 2


def test_no_instances_leave_the_paper_or_the_background() -> None:
    plain = draw_layout(layout(), 512, 512)
    assert plain.getcolors() == [(512 * 512, PAPER)]
    blue = draw_layout(layout(), 512, 512, Image.new("L", (8, 8), 70))
    assert blue.getcolors() == [(512 * 512, (70, 70, 70))]


@pytest.mark.parametrize(
    "text",
    ["x" * 10_000, "word " * 2000, "赤い立方体", "مكعب أحمر", "แมว", "🐱🐱", "a\nb\tc", "ﷺ" * 50],
)
def test_any_prompt_in_any_corner_is_drawn(text: str) -> None:
    corners = [[0, 0, 0.02, 0.02], [0.98, 0, 1, 0.02], [0, 0.98, 1, 1], [0.999, 0.999, 1, 1]]
    drawing = draw_layout(layout(*((text, corner) for corner in corners)), 512, 300)
    assert drawing.size == (512, 300)
    assert drawing.tobytes() != draw_layout(layout(), 512, 300).tobytes()


LONG = "a tall yellow cone, slim and pointed like a hat in an old picture book, at night"
GRID = [[x / 4 + 0.02, y / 2 + 0.05, x / 4 + 0.22, y / 2 + 0.3] for y in (0, 1) for x in range(4)]


@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_labels_of_long_prompts_never_lie_upon_each_other(scale: float) -> None:
    crowd = layout(*((LONG, box) for box in GRID))
    boxes = [tuple(512 * side for side in box) for box in GRID]
    labels = place_labels(crowd, boxes, (512, 512), scale)
    assert len(labels) == len(GRID)
    plates = [label.plate for label in labels.values()]
    for one, other in itertools.combinations(plates, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_prompts_without_room_are_known_and_numbers_take_their_place() -> None:
    short, crowd = layout(*(("a cube", box) for box in GRID)), layout(*((LONG, x) for x in GRID))
    assert has_room_for_prompts(short, 512, 512)
    assert not has_room_for_prompts(crowd, 512, 512)
    boxes = [tuple(512 * side for side in box) for box in GRID]
    labels = place_labels(crowd, boxes, (512, 512), 1.4, numbered=True)
    assert [label.lines for label in labels.values()] == [(str(n),) for n in range(8)]
    for box, label in zip(boxes, labels.values(), strict=True):
        left, top, right, bottom = label.plate
        assert box[0] <= left < right <= box[2]
        assert box[1] <= top < bottom <= box[3]
    assert (
        draw_layout(crowd, 512, 512, numbered=True).tobytes()
        != draw_layout(crowd, 512, 512).tobytes()
    )
    regions = Regions.from_layout(crowd, 64, 64)
    numbered = draw_named_regions(regions, crowd, numbered=True)
    assert numbered.tobytes() != draw_named_regions(regions, crowd).tobytes()


def test_the_drawing_is_the_same_every_time() -> None:
    assert draw_layout(ONE, 300, 200).tobytes() == draw_layout(ONE, 300, 200).tobytes()


@pytest.mark.parametrize("width", [30, 80, 200, 1000])
@pytest.mark.parametrize("text", ["a red cube", "x" * 300, "some words " * 40])
def test_lines_fit_their_width_and_a_cut_shows(text: str, width: int) -> None:
    font = Lettering(16).plain
    lines = wrap(text, font, width, max_lines=3)
    assert 1 <= len(lines) <= 3
    assert all(font.getlength(line) <= width for line in lines)
    whole = "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert whole != lines[-1].endswith("…")


def test_words_stay_whole_where_they_fit() -> None:
    font = Lettering(16).plain
    assert wrap("a red cube", font, font.getlength("a red c"), 2) == ("a red", "cube")
    assert wrap("wide", font, 1, 2) == ()


def test_letters_that_no_font_has_are_left_out_or_replaced() -> None:
    lettering = Lettering(16)
    lettering.others = ()  # type: ignore[misc]
    assert lettering.readable("a cat 赤 smiles", "#0")[0] == "a cat smiles"
    assert lettering.readable("赤い立方体", "#3")[0] == "#3"
    assert lettering.readable("two\nlines", "#0")[0] == "two lines"


def test_hundreds_of_boxes_over_everything_make_the_drawing_smaller_instead_of_slow() -> None:
    whole = layout(*[("x" * 5000, [0, 0, 1, 1])] * 300)
    assert 512 <= draw_layout(whole, 2048, 1024).width < 1000
    some = layout(*[("x" * 5000, [0, 0, 1, 1])] * 30)
    assert draw_layout(some, 2048, 1024).size == (2048, 1024)


def test_a_letter_is_looked_for_in_a_font_once() -> None:
    lettering = Lettering(16)
    lettering.readable("a red cube", "#0")
    found = dict(lettering._known)
    assert lettering.readable("a bad cure", "#1")[0] == "a bad cure"
    assert set(lettering._known) == set(found)


def masked(pixels: np.ndarray, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Layout:
    one = Instance(prompt="a disc", box=Box.from_xyxy(box), mask=pixels)
    return Layout(prompt="p", instances=(one,))


def test_a_mask_is_tinted_with_a_line_around_it_and_its_box_is_thin() -> None:
    pixels = np.zeros((128, 128), dtype=bool)
    pixels[64:96, 32:96] = True
    drawn = np.asarray(draw_layout(masked(pixels), 128, 128)).astype(int)
    paper, colour = np.array(PAPER), np.array(instance_color(0))

    def at(x: int, y: int) -> np.ndarray:
        return drawn[4 * y, 4 * x]

    assert (at(110, 110) == paper).all(), "inside the box and outside the mask there is nothing"
    inside = at(64, 88)
    assert (inside != paper).all()
    assert (inside != colour).any(), "tinted, not filled"
    edge = np.abs(drawn[4 * 80, 4 * 95 : 4 * 97] - colour).sum(axis=1)
    assert edge.min() == 0, "the mask's edge has its line"


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (300, 2), (4096, 4096)])
def test_masks_of_any_size_are_drawn(shape: tuple[int, int]) -> None:
    full = np.ones(shape, dtype=bool)
    assert draw_layout(masked(full), 300, 200).size == (512, 341)


def test_regions_carry_their_names_and_keep_their_colours() -> None:
    pixels = np.zeros((64, 64), dtype=bool)
    pixels[32:, 32:] = True
    two = (Instance(prompt="a cat", box=Box.from_xyxy((0, 0, 0.5, 0.5))), *masked(pixels).instances)
    with_names = Layout(prompt="p", instances=two)
    regions = Regions.from_layout(with_names, 64, 64)
    drawn = draw_named_regions(regions, with_names)
    assert drawn.size == (512, 512)
    plain = np.asarray(regions.to_image().resize((512, 512), Image.Resampling.NEAREST))
    differs = (np.asarray(drawn) != plain).any(axis=2)
    assert differs[:256, :256].any(), "the name of the box"
    assert differs[256:, 256:].any(), "the name of the mask"
    assert not differs[:256, 256:].any()
    assert differs.mean() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (16384, 1), (1000, 700), (4096, 2048)])
def test_regions_of_any_size_are_drawn(size: tuple[int, int]) -> None:
    drawn = draw_named_regions(Regions.from_layout(ONE, *size), ONE)
    assert max(drawn.size) <= 2048 or drawn.width * drawn.height <= 2048**2
