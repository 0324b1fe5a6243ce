"""Scenes as people draw them: one to eight objects, small and large, crowded, in many formats.

Numbered within a split, as those of ``scenes.py``, and disjoint from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from threedis_pocket.scenes import CHUNK, Split, overlap_of
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, Scenes

MOST_OBJECTS = 8
SMALLEST_SIDE, LARGEST_SIDE = 0.1, 0.7
"""Box sides, as shares of the picture's."""
MOST_OVERLAP = 0.5
"""Most of the smaller of two boxes that the other may cover."""
SIDES = (128, 160, 192)
SIZES = tuple((height, width) for height in SIDES for width in SIDES)
"""Heights and widths in pixels; scene i of a split has size i modulo their number."""
_SPLIT_SEED = {"train": 4_000_000_007, "validation": 5_000_000_029, "test": 6_000_000_011}
_ON_THE_FLOOR = 0.75  # share of the objects that stand; the others are anywhere


def _uniform(
    shape: tuple[int, ...], low: float, high: Tensor | float, rng: torch.Generator
) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def _candidates(most: Tensor, tries: int, rng: torch.Generator) -> Tensor:
    """Random boxes, shape (B, tries, 4), whose longer side is at most ``most`` (B,)."""
    shape = (len(most), tries)
    wide = _uniform(shape, SMALLEST_SIDE, most[:, None], rng)
    ratio = _uniform(shape, -0.7, 0.7, rng).exp()
    tall = torch.minimum((wide * ratio).clamp_min(SMALLEST_SIDE), most[:, None])
    left = (1 - wide) * torch.rand(shape, generator=rng)
    anywhere = tall + (1 - tall) * torch.rand(shape, generator=rng)
    standing = torch.maximum(_uniform(shape, 0.42, 0.99, rng), tall)
    foot = torch.where(torch.rand(shape, generator=rng) < _ON_THE_FLOOR, standing, anywhere)
    return torch.stack([left, foot - tall, left + wide, foot], -1)


def _place(shapes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4); a slot that finds no room becomes empty."""
    count = (shapes >= 0).sum(1)
    most = (1.2 / count.sqrt()).clamp(max=LARGEST_SIDE)
    boxes, placed = torch.zeros(*shapes.shape, 4), shapes.clone()
    rows = torch.arange(len(shapes))
    for slot in range(shapes.shape[1]):
        tries = _candidates(most, 48, rng)
        clash = overlap_of(tries[:, :, None], boxes[:, None, :slot])
        clash = torch.where(placed[:, None, :slot] >= 0, clash, 0.0)
        free = (clash <= MOST_OVERLAP).all(-1)
        boxes[:, slot] = tries[rows, free.int().argmax(1)]
        placed[:, slot] = torch.where(free.any(1), placed[:, slot], -1)
    return boxes, placed


def _colours(split: Split, rng: torch.Generator) -> Tensor:
    """Colours (CHUNK, N) that differ; in training also drawn with repetition, or one for all.

    A caption of one colour is what a region's own prompt is, so the models know such pictures.
    """
    each = torch.rand(CHUNK, len(COLOURS), generator=rng).argsort(1)[:, :MOST_OBJECTS]
    if split != "train":
        return each
    drawn = torch.randint(len(COLOURS), (CHUNK, MOST_OBJECTS), generator=rng)
    dice = torch.rand(CHUNK, 1, generator=rng)
    one = each[:, :1].expand_as(each)
    return torch.where(dice < 0.6, each, torch.where(dice < 0.8, drawn, one))


def _chunk(split: Split, number: int) -> Scenes:
    rng = torch.Generator().manual_seed(_SPLIT_SEED[split] + number)
    count = torch.randint(1, MOST_OBJECTS + 1, (CHUNK, 1), generator=rng)
    shapes = torch.randint(len(SHAPES), (CHUNK, MOST_OBJECTS), generator=rng)
    shapes = torch.where(torch.arange(MOST_OBJECTS) < count, shapes, -1)
    boxes, shapes = _place(shapes, rng)
    return Scenes(boxes, shapes, _colours(split, rng), torch.rand(CHUNK, 4, generator=rng))


def sample_wild(split: Split, count: int, start: int = 0) -> Scenes:
    """Wild scenes ``start`` to ``start + count`` of a split; scene i has size ``wild_size(i)``.

    Outside the split ``train`` colours never repeat within a scene; shapes do everywhere.
    """
    first, last = start // CHUNK, (start + count + CHUNK - 1) // CHUNK
    chunks = [_chunk(split, number) for number in range(first, last)]
    fields = [torch.cat([getattr(c, f) for c in chunks]) for f in Scenes.__dataclass_fields__]
    return Scenes(*fields)[slice(start - first * CHUNK, start - first * CHUNK + count)]


def wild_size(number: int) -> tuple[int, int]:
    """(height, width) in pixels of wild scene ``number``."""
    return SIZES[number % len(SIZES)]
