"""Make any text fit for one line of a terminal: nothing hidden, nothing acting, not long."""

from __future__ import annotations

import os

ELLIPSIS = "..."


def printable(text: str | os.PathLike[str], limit: int = 300) -> str:
    r"""Write what does not print as an escape, and cut the middle out of what is too long.

    Line breaks, terminal codes, marks that turn the writing direction, and halves of characters
    (lone surrogates, as in a file name that is not UTF-8) become ``\n``, ``\x1b``, ``\u202e``,
    ``\udc80``. Both ends stay, because a message says at its end what to do, and a path which file.

    Args:
        text: Any text or path.
        limit: The most characters to return, at least 20.
    """
    text = os.fspath(text)
    # What a letter is written as is never shorter than the letter: the rest cannot be needed.
    pieces = [_escaped(letter) for letter in (text if len(text) <= limit else text[:limit])]
    if len(text) <= limit and sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    room = limit - len(ELLIPSIS)
    tail = [_escaped(letter) for letter in reversed(text[-limit:])]
    start, end = _fitting(pieces, room - room // 2), _fitting(tail, room // 2)
    return "".join(start) + ELLIPSIS + "".join(reversed(end))


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


def _fitting(pieces: list[str], room: int) -> list[str]:
    """The first pieces, as many as fit whole."""
    for count, piece in enumerate(pieces):
        room -= len(piece)
        if room < 0:
            return pieces[:count]
    return pieces
