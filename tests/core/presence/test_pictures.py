"""What a picture has lost of its layout, told by the colours that the prompts name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from threedis_core import render
from threedis_core.presence.hues import HUES, asked_hue, hue_shares
from threedis_core.presence.pictures import Places
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout

LEFT, RIGHT = (0.10, 0.30, 0.45, 0.80), (0.55, 0.35, 0.90, 0.85)
COLOURS = {"red": (200, 30, 30), "blue": (40, 60, 210), "grey": (150, 150, 150)}


def layout_of(*prompts: str) -> Layout:
    boxes = (LEFT, RIGHT)
    instances = tuple(
        Instance(prompt=prompt, box=Box.from_xyxy(box))
        for prompt, box in zip(prompts, boxes, strict=False)
    )
    return Layout(prompt="two blocks", instances=instances)


def painted(*colours: str, size: int = 128) -> Image.Image:
    """Blocks of these colours in front of a grey wall."""
    pixels = np.full((size, size, 3), COLOURS["grey"], np.uint8)
    for (x0, y0, x1, y1), colour in zip((LEFT, RIGHT), colours, strict=False):
        rows, columns = slice(int(y0 * size), int(y1 * size)), slice(int(x0 * size), int(x1 * size))
        pixels[rows, columns] = COLOURS[colour]
    return Image.fromarray(pixels)


def blocks() -> DepthMap:
    depth = np.full((128, 128), 0.2)
    for x0, y0, x1, y1 in (LEFT, RIGHT):
        depth[int(y0 * 128) : int(y1 * 128), int(x0 * 128) : int(x1 * 128)] = 0.7
    return DepthMap(depth)


@pytest.mark.parametrize(
    ("prompt", "hue"),
    [
        ("a red cube", "red"),
        ("two small cyan cones", "cyan"),
        ("a turquoise ring", "cyan"),
        ("a small green wooden chair", "green"),
        ("red car on a yellow road", "red"),
        ("an orange cat", "orange"),
        ("an orange", None),
        ("a man in a red shirt", None),
        ("a red and blue ball", None),
        ("a black and red bird", None),
        ("a pale pink rose", None),
        ("dark red wine", None),
        ("a white cat", None),
        ("a dog", None),
        ("", None),
    ],
)
def test_a_prompt_is_held_to_the_one_colour_it_gives_its_noun(prompt: str, hue: str | None) -> None:
    assert asked_hue(prompt) == hue


def test_every_hue_has_one_name() -> None:
    circle = [
        sum((hue - low) % 180 < (high - low) % 180 for low, high in HUES.values())
        for hue in range(180)
    ]
    assert set(circle) == {1}


def test_shares_of_colours_leave_out_what_is_pale_or_dark() -> None:
    pixels = np.array([(200, 30, 30), (40, 60, 210), (210, 205, 205), (12, 0, 0)], np.uint8)
    shares = hue_shares(pixels)
    assert (shares["red"], shares["blue"]) == (0.25, 0.25)
    assert sum(shares.values()) == 0.5


def test_nothing_is_said_of_a_picture_that_has_everything() -> None:
    places = Places(layout_of("a red block", "a blue block"), blocks())
    assert places.lost(painted("red", "blue")) == ()
    assert places.lost(painted("red", "blue", size=300)) == ()


def test_an_instance_that_is_the_wall_is_named_with_what_to_do() -> None:
    places = Places(layout_of("a red block", "a blue block"), blocks())
    (line,) = places.lost(painted("red", "grey"))
    assert line.startswith("instances[1] (")
    assert "likely missing" in line
    assert "blue covers 0%" in line
    assert "another seed" in line


def test_an_instance_that_a_neighbours_colour_covers_is_named() -> None:
    places = Places(layout_of("a red block", "a blue block"), blocks())
    (line,) = places.lost(painted("blue", "blue"))
    assert line.startswith("instances[0] (")
    assert "blue 100%" in line


def test_prompts_without_a_colour_are_not_judged() -> None:
    places = Places(layout_of("a wooden block", "a block"), blocks())
    assert places.lost(painted("grey", "grey")) == ()


def test_two_of_one_colour_do_not_accuse_each_other() -> None:
    places = Places(layout_of("a red block", "a red ball"), blocks())
    assert places.lost(painted("red", "red")) == ()


def test_a_run_says_which_picture_has_lost_what(registry) -> None:
    run = render(
        layout_of("a red block", "a blue block"),
        depth=blocks(),
        renderers={"fake": {"tint": 0}},
        seeds=[3],
        registry=registry,
    )
    lost = [line for line in run.warnings if "likely missing or of another colour" in line]
    assert lost
    assert all(line.startswith("fake, seed 3: instances[") for line in lost)
    off = render(
        layout_of("a red block", "a blue block"),
        depth=blocks(),
        renderers={"fake": {"tint": 0}},
        control="none",
        registry=registry,
    )
    assert not [line for line in off.warnings if "likely missing or of another colour" in line]
