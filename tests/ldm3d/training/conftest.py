"""Tiny real data: pictures with depth on the disk, and tiny real autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_ldm3d.training.example import Example

torch.set_num_threads(1)


def write_example(folder: Path, number: int, depth: bool = True) -> Example:
    """A picture of noise, 24x16 pixels, and its depth."""
    rng = np.random.default_rng(number)
    image = folder / f"{number}.png"
    Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(image)
    file = folder / f"{number}-depth.png"
    if depth:
        DepthMap(rng.random((16, 24), dtype=np.float32)).save(file)
    layout = Layout(prompt=f"picture {number}")
    return Example(str(number), image, file if depth else None, layout)


@pytest.fixture
def examples(tmp_path: Path) -> Callable[..., list[Example]]:
    """Make so many examples."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return lambda count, depth=True: [write_example(folder, i, depth) for i in range(count)]


@pytest.fixture(scope="session")
def tiny_vae() -> Callable[..., AutoencoderKL]:
    """Make an autoencoder for pictures of so many channels."""

    def make(channels: int, **config: float) -> AutoencoderKL:
        torch.manual_seed(channels)
        return AutoencoderKL(
            in_channels=channels,
            out_channels=channels,
            latent_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            **config,
        )

    return make
