"""Write pocket scenes as training data for ``threedis train layout-depth``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from threedis_core.errors import DataError
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.training.example import Example
from threedis_ldm3d.training.folder_data import EXAMPLES, example_line
from threedis_pocket.layouts import scene_layout
from threedis_pocket.scenes import CHUNK, Split, sample_scenes
from threedis_pocket.world import draw


def write_scenes(
    folder: Path, split: Split, count: int, size: int = 128, progress: Progress = silent
) -> Path:
    """Write the first ``count`` scenes of a split, with pictures, exact depth and layouts.

    Goes on where it was killed: a scene is done when its line is in ``examples.jsonl``.

    Args:
        folder: Where; new, or with scenes of this split and size.
        split: Which scenes.
        count: How many.
        size: Side of the square pictures and depth maps, in pixels.
        progress: Told about every chunk.
    Returns:
        The path of ``examples.jsonl``.
    Raises:
        DataError: The folder has other examples, or cannot be written.
    """
    ledger = folder / EXAMPLES
    try:
        for part in ("images", "depth"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        done = _written(ledger, split, size)
        while done < count:
            stop = min(done - done % CHUNK + CHUNK, count)
            _append(ledger, _write(folder, split, size, done, stop))
            done = stop
            progress("scenes", done, count)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    return ledger


def _name(split: Split, size: int, number: int) -> str:
    return f"{split}-{size}px-{number:06}"


def _written(ledger: Path, split: Split, size: int) -> int:
    """How many scenes are done; a line that a kill cut off is taken away."""
    if not ledger.exists():
        return 0
    lines = ledger.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
        os.truncate(ledger, sum(map(len, lines)))
    for number, line in enumerate(lines):
        if not line.startswith(f'{{"name": "{_name(split, size, number)}"'.encode()):
            raise DataError(
                f"{ledger}: line {number + 1} is not scene {_name(split, size, number)!r}; "
                "name a new folder"
            )
    return len(lines)


def _write(folder: Path, split: Split, size: int, start: int, stop: int) -> str:
    """Write the files of scenes ``start`` to ``stop``; returns their lines."""
    scenes = sample_scenes(split, stop - start, start)
    drawing = draw(scenes, size, size)
    lines = []
    for index in range(stop - start):
        name = _name(split, size, start + index)
        image, depth = folder / "images" / f"{name}.png", folder / "depth" / f"{name}.png"
        _picture(drawing.rgb[index]).save(image, compress_level=1)
        DepthMap(drawing.depth[index].numpy()).save(depth)
        lines.append(example_line(Example(name, image, depth, scene_layout(scenes, index)), folder))
    return "".join(lines)


def _picture(rgb: Tensor) -> Image.Image:
    """A picture from (3, H, W) in [0, 1]."""
    return Image.fromarray((rgb * 255).round().byte().permute(1, 2, 0).numpy().astype(np.uint8))


def _append(ledger: Path, lines: str) -> None:
    """Add lines for scenes whose files are on the disk."""
    with ledger.open("a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
