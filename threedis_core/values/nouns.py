"""The noun in a description: what is left of it without colours, for a depth map has none.

A rule of thumb for English, not a parser. Its colours are the names of CSS, which Pillow keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


THINGS_FIRST = _words(
    """
    bisque honeydew linen moccasin peru seashell snow thistle tomato wheat
    """
)
"""Names in CSS that in a description are things: a snow leopard is no white one."""
THINGS_TOO = _words(
    """
    amber apricot cherry chocolate coral cream emerald gold lavender lemon lilac lime mint
    mustard olive orange orchid peach plum rose ruby salmon sapphire silver violet
    """
)
"""Colours that are things where they stand alone: "an orange on a plate"."""
MORE_COLOURS = _words(
    """
    auburn blond blonde burgundy cerulean cobalt coloured colored colorful colourful golden
    mauve multicolored multicoloured ochre rosy scarlet silvery taupe ultramarine vermilion
    """
)
"""Colours that CSS has no name for."""
MORE_SHADES = _words(
    """
    bright brightly dull electric faded light neon pastel pure rich soft vivid warm
    """
)
"""Words that belong to the colour after them, beside those in the names of CSS."""
LEADING = _words(
    """
    a an the this that these those some several many one two three four five six seven eight
    nine ten eleven twelve
    """
)
ARTICLES = frozenset({"a", "an"})
JOINTS = frozenset({"and", "or", "&"})
ENDS = _words(
    """
    above against among are around at atop before behind below beneath beside between by from
    holding in inside into is near next of on onto over that through to under wearing which
    with
    """
)
"""Words that end a noun and its attributes."""


def bare_noun(text: str) -> str:
    """``text`` without colours, and without the article or number it begins with.

    "a dark-red sphere" gives "sphere", "two small cyan cones" gives "small cones", "a cat on a blue
    chair" gives "cat on a chair". A colour that is the thing stays: "an orange" gives "orange". So
    does a text that is nothing but a colour.
    """
    words = _without_lead(text.split())
    found = list(_without_colours(words))
    if found != words:
        found = _without_tail(list(_with_articles(found)))
    return " ".join(found or words).strip(" ,;") or text


def colours_of(text: str) -> list[str]:
    """The words of ``text`` that ``bare_noun`` leaves out because they name a colour, in order."""
    words = re.findall(r"[\w-]+", text.lower())
    left = bare_noun(" ".join(words)).split()
    return [word for word in words if word not in left and is_colour(word)]


def names_colour(text: str) -> bool:
    """True if ``bare_noun`` finds a colour in ``text`` that is not the thing itself."""
    words = _without_lead(text.split())
    return bare_noun(text) != " ".join(words).strip(" ,;")


@cache
def _css() -> tuple[frozenset[str], frozenset[str]]:
    """The colours' names in CSS, and the words that stand before a colour in them ("dark")."""
    from PIL import ImageColor  # brings PIL, which listings do not need

    names = frozenset(ImageColor.colormap) - THINGS_FIRST
    ends = [(name, base) for name in names for base in names if name != base]
    shades = {name.removesuffix(base) for name, base in ends if name.endswith(base)}
    return names, frozenset(shades) - names


def is_colour(word: str) -> bool:
    """True for "red", "reddish", "blue-green", "tomato-red", "orange-coloured"."""
    names, _ = _css()
    plain = word.strip(",;.:!?\"'()").lower()
    if plain in names or plain in MORE_COLOURS or plain in THINGS_TOO:
        return True
    if stem := re.fullmatch(r"([a-z]{2,}?)(.)?\2?ish", plain):
        first, last = stem.group(1), stem.group(2) or ""
        return any(form in names for form in (first + last, first, first + last + "e"))
    parts = re.split(r"[-/]", plain)
    return len(parts) > 1 and any(is_colour(part) for part in parts if part)


def is_shade(word: str) -> bool:
    return word.lower() in _css()[1] or word.lower() in MORE_SHADES


def _without_lead(words: Sequence[str]) -> list[str]:
    """Without articles and numbers in front, if anything else is left."""
    left = list(words)
    while len(left) > 1 and (left[0].lower() in LEADING or left[0].isdigit()):
        left.pop(0)
    return left


def _without_tail(words: list[str]) -> list[str]:
    """Without what led to a colour at the end: "cone that is"."""
    while words and words[-1].lower() in ENDS | JOINTS:
        words.pop()
    return words


def _without_colours(words: Sequence[str]) -> Iterator[str]:
    for phrase in _phrases(words):
        yield from _uncoloured(phrase)


def _phrases(words: Sequence[str]) -> Iterator[list[str]]:
    """Parts with one noun each: a part ends before a preposition, and before an article."""
    part: list[str] = []
    for word in words:
        plain = word.lower()
        joined = bool(part) and part[-1].lower() in JOINTS
        if part and (plain in ENDS or (plain in LEADING and not _only_ends(part))):
            joint = [part.pop()] if joined else []
            yield part
            part = joint
        part.append(word)
    yield part


def _only_ends(part: Sequence[str]) -> bool:
    return all(word.lower() in ENDS | LEADING | JOINTS for word in part)


def _uncoloured(phrase: Sequence[str]) -> Iterator[str]:
    """One noun with its attributes, its colours, their shades and what joins them left out."""
    coloured = [is_colour(word) for word in phrase]
    last = len(phrase) - 1
    if coloured and coloured[last] and _is_thing(phrase):
        coloured[last] = False
    for place in range(last - 1, -1, -1):
        follows = coloured[place + 1]
        word = phrase[place]
        joins = word.lower() in JOINTS and place > 0 and coloured[place - 1]
        if follows and (is_shade(word) or joins):
            coloured[place] = True
    kept = [word for word, is_colour in zip(phrase, coloured, strict=True) if not is_colour]
    if not _only_ends(kept) or not any(coloured):
        yield from kept


def _is_thing(phrase: Sequence[str]) -> bool:
    """True if the last word, which names a colour, is the thing: nothing else in it can be."""
    if phrase[-1].strip(",;.:!?\"'()").lower() not in THINGS_TOO:
        return False
    others = [word for word in phrase[:-1] if not (is_colour(word) or is_shade(word))]
    return _only_ends(others) or not is_colour(others[-1])


def _with_articles(words: Sequence[str]) -> Iterator[str]:
    """Articles that fit the words after them: "an" before a colour that went may be "a" now."""
    for place, word in enumerate(words):
        if word.lower() in ARTICLES and place + 1 < len(words):
            yield "an" if words[place + 1][0].lower() in "aeiou" else "a"
        else:
            yield word
