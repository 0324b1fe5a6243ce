"""The training pictures: drawn once from the seed, kept as memory-mapped arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.scenes import CHUNK, Split, sample_scenes
from threedis_pocket.world import Scenes, draw

SIZE = 128


@dataclass(frozen=True, eq=False)
class Pictures:
    """Scenes with their pictures.

    Args:
        scenes: C scenes.
        rgb: (C, 128, 128, 3) uint8.
        depth: (C, 128, 128) uint8, 255 = nearest.
    """

    scenes: Scenes
    rgb: np.ndarray
    depth: np.ndarray


def pictures(folder: Path, split: Split, count: int, progress: Progress = silent) -> Pictures:
    """The first ``count`` pictures of a split, drawn where ``folder`` does not hold them yet.

    Drawing goes on where it was killed: ``drawn.txt`` counts the finished pictures.
    """
    folder = folder / f"{split}-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "drawn.txt"
    done = int(ledger.read_text()) if ledger.exists() else 0
    mode = "r+" if done else "w+"
    shape = (count, SIZE, SIZE)
    rgb = open_memmap(folder / "rgb.npy", mode, np.uint8, (*shape, 3))
    depth = open_memmap(folder / "depth.npy", mode, np.uint8, shape)
    for start in range(done, count, CHUNK):
        stop = min(start + CHUNK, count)
        drawing = draw(sample_scenes(split, stop - start, start))
        rgb[start:stop] = (drawing.rgb * 255).round().byte().permute(0, 2, 3, 1).numpy()
        depth[start:stop] = (drawing.depth * 255).round().byte().numpy()
        rgb.flush()
        depth.flush()
        ledger.write_text(str(stop))
        progress("draw", stop, count)
    return Pictures(sample_scenes(split, count), rgb, depth)


def to_model(rgb: np.ndarray) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1
