from __future__ import annotations

import pytest
from PIL import ImageColor

from threedis_core.values.layout import Box, Instance
from threedis_core.values.nouns import THINGS_FIRST, bare_noun, names_colour


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("a red sphere", "sphere"),
        ("cyan cone", "cone"),
        ("A RED CUBE", "CUBE"),
        ("two dark-red spheres", "spheres"),
        ("3 green cubes", "cubes"),
        ("a light blue cube", "cube"),
        ("hot pink cone", "cone"),
        ("sky blue bird", "bird"),
        ("deep crimson cylinder", "cylinder"),
        ("a reddish-brown fox", "fox"),
        ("a bluish sphere", "sphere"),
        ("a grey-ish cube", "cube"),
        ("a cream-coloured sofa", "sofa"),
        ("an ochre colored box", "box"),
        ("a black and white cow", "cow"),
        ("black, white and red ball", "ball"),
        ("a ball in red", "ball"),
        ("a sphere, red", "sphere"),
        ("a cone that is red", "cone"),
        ("red-haired girl", "girl"),
        ("a small red wooden chair", "small wooden chair"),
    ],
)
def test_colours_articles_and_numbers_go(text: str, noun: str) -> None:
    assert bare_noun(text) == noun


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("a small wooden chair", "small wooden chair"),
        ("a light bulb", "light bulb"),
        ("a dark wooden table", "dark wooden table"),
        ("a hot dog", "hot dog"),
        ("English fish", "English fish"),
        ("a snow leopard", "snow leopard"),
        ("linen curtains", "linen curtains"),
        ("ein roter Würfel", "ein roter Würfel"),
    ],
)
def test_everything_else_stays(text: str, noun: str) -> None:
    assert bare_noun(text) == noun
    assert not names_colour(text)


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("an orange", "orange"),
        ("orange on a plate", "orange on a plate"),
        ("an orange on a blue plate", "orange on a plate"),
        ("an orange and a red ball", "orange and a ball"),
        ("green apple and orange", "apple and orange"),
        ("a red rose in a white vase", "rose in a vase"),
        ("a dark green olive", "olive"),
        ("two limes", "limes"),
        ("salmon", "salmon"),
        ("an orange cat", "cat"),
        ("a salmon cube", "cube"),
        ("a violet cone", "cone"),
        ("a woman with an orange hat", "woman with a hat"),
    ],
)
def test_a_colour_that_is_the_thing_stays(text: str, noun: str) -> None:
    assert bare_noun(text) == noun


@pytest.mark.parametrize("text", ["red", "bright red", "an", "two", ",", " "])
def test_something_is_always_left(text: str) -> None:
    assert bare_noun(text) == text
    assert bare_noun("a red") == "red"


def test_every_colour_that_css_names_is_known() -> None:
    known = {name for name in ImageColor.colormap if bare_noun(f"a {name} cube") == "cube"}
    assert set(ImageColor.colormap) - known == THINGS_FIRST


def test_the_noun_of_an_instance_is_its_labels_or_its_prompts() -> None:
    def noun(prompt: str, label: str | None = None) -> str:
        box = Box.from_xyxy((0, 0, 1, 1))
        return Instance(prompt=prompt, label=label, box=box).noun

    assert noun("a red cube") == "cube"
    assert noun("a red thing", "a cyan cone") == "cone"
    assert noun("a red cube", "the  two dogs") == "the  two dogs", "it names no colour"
