"""Small pictures for a page, as WebP."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from threedis_core.errors import InputError
from threedis_core.files.pictures import open_picture

SIDE = 224
"""Pixels of the longer side; smaller pictures stay as they are."""
QUALITIES = (78, 60, 45, 30)
MOST_BYTES = 9_000
"""The first quality that gives no more is taken: 4,000 of them, in base64, are 48 MB."""
AHEAD = 64


def thumbnails(files: Iterable[Path | None], workers: int) -> Iterator[bytes | None]:
    """Thumbnails in the order of the files, made ahead by some threads; None stays None.

    Only as many are held as are made ahead: thousands need no more memory than a few.
    """
    coming = iter(files)
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(thumbnail, file) for file in islice(coming, AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(thumbnail, file) for file in islice(coming, 1))


def thumbnail(file: Path | None) -> bytes | None:
    """A small WebP of a picture file; None if it is missing or cannot be read.

    Args:
        file: A colour picture, or a grey one of 8 or 16 bits.
    """
    if file is None:
        return None
    try:
        return encoded(small(open_picture(file, InputError, "a picture")))
    except InputError:
        return None


def small(picture: Image.Image) -> Image.Image:
    """The picture in RGB with its longer side at most ``SIDE``."""
    if picture.mode.startswith("I"):  # 16-bit depth, which Pillow would clip
        levels = np.clip(np.asarray(picture), 0, 65535) // 256
        picture = Image.fromarray(levels.astype(np.uint8))
    picture = picture.convert("RGB")
    longer = max(picture.size)
    if longer <= SIDE:
        return picture
    width, height = (max(1, round(side * SIDE / longer)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)


def encoded(picture: Image.Image) -> bytes:
    """WebP of ``MOST_BYTES`` at most, unless even the lowest quality takes more."""
    data = b""
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, format="WEBP", quality=quality, method=2)
        data = file.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return data
