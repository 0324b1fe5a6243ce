"""Sampling scenes, their captions and their layouts, from a seed.

Scenes are numbered within a split; a scene depends on its split and number alone, so the held-out
splits are disjoint from training however many scenes either draws.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, Scenes

Split = Literal["train", "validation", "test"]
MAX_OBJECTS = 5
CHUNK = 64  # scenes that share one generator
_SPLIT_SEED = {"train": 1_000_000_007, "validation": 2_000_000_011, "test": 3_000_000_019}
_ASPECT = torch.tensor([[1.0, 1.0], [0.95, 1.15], [0.95, 1.55], [1.05, 1.60]])  # height / width
OVERLAP = 0.30  # most of the smaller of two boxes that the other may cover


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def _candidates(kind: Tensor, tries: int, rng: torch.Generator) -> Tensor:
    """Random boxes for objects of ``kind`` (B,), shape (B, tries, 4)."""
    shape = (len(kind), tries)
    foot = _uniform(shape, 0.50, 0.97, rng)
    wide = _uniform(shape, 0.26, 0.44, rng) * (0.75 + 0.55 * (foot - 0.50))
    low, high = _ASPECT[kind].unbind(1)
    tall = wide * (low[:, None] + (high - low)[:, None] * torch.rand(shape, generator=rng))
    left = 0.02 + (0.96 - wide) * torch.rand(shape, generator=rng)
    return torch.stack([left, (foot - tall).clamp_min(0.02), left + wide, foot], -1)


def overlap_of(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over the smaller area of (B, T, 1, 4) and (B, 1, K, 4) boxes."""
    size = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    both = size.clamp_min(0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (one, other)]
    return both / torch.minimum(*areas).clamp_min(1e-9)


def _place(shapes: Tensor, overlap: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) with little overlap; a slot that finds no room becomes empty."""
    batch, slots = shapes.shape
    boxes, placed = torch.zeros(batch, slots, 4), shapes.clone()
    rows = torch.arange(batch)
    for slot in range(slots):
        tries = _candidates(shapes[:, slot].clamp_min(0), 48, rng)
        clash = overlap_of(tries[:, :, None], boxes[:, None, :slot])
        clash = torch.where((placed[:, None, :slot] >= 0), clash, 0.0)
        free = (clash <= overlap).all(-1)
        boxes[:, slot] = tries[rows, free.int().argmax(1)]
        placed[:, slot] = torch.where(free.any(1), placed[:, slot], -1)
    return boxes, placed


def _chunk(split: Split, number: int, least: int, most: int, overlap: float) -> Scenes:
    rng = torch.Generator().manual_seed(_SPLIT_SEED[split] + number)
    count = torch.randint(least, most + 1, (CHUNK, 1), generator=rng)
    shapes = torch.randint(len(SHAPES), (CHUNK, MAX_OBJECTS), generator=rng)
    shapes = torch.where(torch.arange(MAX_OBJECTS) < count, shapes, -1)
    boxes, shapes = _place(shapes, overlap, rng)
    colours = torch.rand(CHUNK, len(COLOURS), generator=rng).argsort(1)[:, :MAX_OBJECTS]
    return Scenes(boxes, shapes, colours, torch.rand(CHUNK, 4, generator=rng))


def sample_scenes(
    split: Split,
    count: int,
    start: int = 0,
    least: int = 1,
    most: int = MAX_OBJECTS,
    overlap: float = OVERLAP,
) -> Scenes:
    """Scenes ``start`` to ``start + count`` of a split, each with ``least`` to ``most`` objects.

    Colours never repeat within a scene; shapes do. A box covers at most ``overlap`` of a smaller
    one, or is covered so. An object that finds no room is left out, so a crowded scene may hold
    fewer than ``least``.
    """
    first, last = start // CHUNK, (start + count + CHUNK - 1) // CHUNK
    chunks = [_chunk(split, number, least, most, overlap) for number in range(first, last)]
    fields = [torch.cat([getattr(c, f) for c in chunks]) for f in Scenes.__dataclass_fields__]
    return Scenes(*fields)[slice(start - first * CHUNK, start - first * CHUNK + count)]


def phrase(colour: int, shape: int) -> str:
    """The prompt of one object: "a red sphere"."""
    colour_name = COLOURS[colour]
    return f"{'an' if colour_name == 'orange' else 'a'} {colour_name} {SHAPES[shape]}"


def join_phrases(phrases: list[str]) -> str:
    """One caption from phrases: "a red sphere, a blue cube and a green cone"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
