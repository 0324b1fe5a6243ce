"""Open the files of examples, many at a time, and leave those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from threedis_core.errors import DataError, DepthError
from threedis_core.files.pictures import open_picture
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.training.example import BadExample, BadExampleError, Example, check_there
from threedis_ldm3d.training.shards import MadeExample

BATCH = 16
"""Pictures that go through an estimator or a VAE together."""

Opened = TypeVar("Opened")


def open_image(example: Example) -> Image.Image:
    """The picture of an example, RGB.

    Raises:
        BadExampleError: It is missing or broken.
    """
    if example.image is None:
        raise BadExampleError("missing image", "it has only a depth map; the VAE needs colours")
    check_there(example.image, "image")
    try:
        return open_picture(example.image, DataError, "a training picture").convert("RGB")
    except DataError as error:
        raise BadExampleError("broken image", str(error)) from None


def open_depth(example: Example) -> DepthMap:
    """The depth map of an example.

    Raises:
        BadExampleError: It has none, or a broken one.
    """
    if example.depth is None:
        raise BadExampleError("missing depth", "it has no depth map, and nothing estimates one")
    check_there(example.depth, "depth")
    try:
        return DepthMap.load(example.depth)
    except DepthError as error:
        raise BadExampleError("broken depth", str(error)) from None


def make_in_batches(
    examples: Sequence[Example],
    places: Sequence[int],
    load: Callable[[int], Opened],
    make: Callable[[list[Opened]], Tensor],
) -> MadeExample:
    """Load some examples in threads, and make rows of them a batch at a time.

    Args:
        examples: The examples of a shard.
        places: Which of them to make rows of, in rising order.
        load: Opens the example at a place; raises ``BadExampleError`` if it cannot be used.
        make: Makes rows, shape (B, ...), of B loaded examples.
    """

    def attempt(place: int) -> Opened | BadExample:
        try:
            return load(place)
        except BadExampleError as problem:
            return problem.named(examples[place].name)

    rows: list[Tensor] = []
    kept: list[int] = []
    bad: list[BadExample] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(places), BATCH):
            batch: list[Opened] = []
            some = places[start : start + BATCH]
            for place, loaded in zip(some, pool.map(attempt, some), strict=True):
                if isinstance(loaded, BadExample):
                    bad.append(loaded)
                else:
                    batch.append(loaded)
                    kept.append(place)
            if batch:
                rows.append(make(batch))
    return MadeExample(torch.cat(rows) if rows else torch.zeros(0), kept, bad)
