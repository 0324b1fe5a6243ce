"""The training pictures: drawn once from the seed, kept as memory-mapped arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap

from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.scenes import CHUNK, Split, sample_scenes
from threedis_pocket.wild import SIZES, sample_wild
from threedis_pocket.world import COLOURS, Scenes, draw

SIZE = 128


@dataclass(frozen=True, eq=False)
class Pictures:
    """Scenes with their pictures, all of one size.

    Args:
        scenes: C scenes.
        rgb: (C, H, W, 3) uint8.
        depth: (C, H, W) uint8, 255 = nearest.
        folder: Where they are kept, and what is made of them.
    """

    scenes: Scenes
    rgb: np.ndarray
    depth: np.ndarray
    folder: Path

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.depth.shape[1:]
        return height, width


def pictures(folder: Path, split: Split, count: int, progress: Progress = silent) -> Pictures:
    """The first ``count`` pictures of a split, drawn where ``folder`` does not hold them yet.

    Drawing goes on where it was killed: ``drawn.txt`` counts the finished pictures.
    """
    scenes = sample_scenes(split, count)
    return _pictures(folder / f"{split}-{count}", scenes, (SIZE, SIZE), progress)


def wild_pictures(
    folder: Path, split: Split, count: int, progress: Progress = silent
) -> list[Pictures]:
    """The same of the first ``count`` wild scenes, one set for each of their sizes."""
    scenes = sample_wild(split, count)
    sets = []
    for first, (height, width) in enumerate(SIZES):
        some = scenes[slice(first, None, len(SIZES))]
        name = f"wild-{split}-{count}-{width}x{height}"
        sets.append(_pictures(folder / name, some, (height, width), progress))
    return sets


def recoloured_pictures(
    folder: Path, count: int, colour: str, progress: Progress = silent
) -> Pictures:
    """The first training pictures with every object in one colour; the scenes keep theirs."""
    scenes = sample_scenes("train", count)
    one = replace(scenes, colours=torch.full_like(scenes.colours, COLOURS.index(colour)))
    drawn = _pictures(folder / f"train-{count}-{colour}", one, (SIZE, SIZE), progress)
    return replace(drawn, scenes=scenes)


def _pictures(folder: Path, scenes: Scenes, size: tuple[int, int], progress: Progress) -> Pictures:
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "drawn.txt"
    count, shape = len(scenes), (len(scenes), *size)
    done = _drawn(ledger, count)
    rgb, done = _array(folder / "rgb.npy", (*shape, 3), done)
    depth, done = _array(folder / "depth.npy", shape, done)
    for start in range(done, count, CHUNK):
        stop = min(start + CHUNK, count)
        drawing = draw(scenes[slice(start, stop)], *size)
        rgb[start:stop] = (drawing.rgb * 255).round().byte().permute(0, 2, 3, 1).numpy()
        depth[start:stop] = (drawing.depth * 255).round().byte().numpy()
        rgb.flush()
        depth.flush()
        write_atomically(ledger, str(stop).encode())
        progress("draw", stop, count)
    return Pictures(scenes, rgb, depth, folder)


def _drawn(ledger: Path, count: int) -> int:
    """How many of ``count`` pictures are finished; none if the ledger is damaged."""
    if not ledger.exists():
        return 0
    text = ledger.read_bytes()
    return int(text) if re.fullmatch(rb"[0-9]{1,9}", text) and int(text) <= count else 0


def _array(file: Path, shape: tuple[int, ...], done: int) -> tuple[np.ndarray, int]:
    """The array in ``file``, and the pictures in it that count: none where it must be a new one."""
    if done and (kept := kept_array(file, shape, np.uint8, "r+")) is not None:
        return kept, done
    return open_memmap(file, "w+", np.uint8, shape), 0


def kept_array(
    file: Path, shape: tuple[int, ...], kind: type[np.generic], mode: Literal["r", "r+"] = "r"
) -> np.ndarray | None:
    """The array in ``file``, mapped; None: there is none, or another one. Pickles are not read."""
    try:
        array = open_memmap(file, "r")  # "r+" would make a file longer that is too short
    except Exception:  # numpy's reader raises almost anything on a damaged file
        return None
    if (array.shape, array.dtype) != (shape, np.dtype(kind)):
        return None
    return array if mode == "r" else open_memmap(file, mode)


def to_model(rgb: np.ndarray) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1
