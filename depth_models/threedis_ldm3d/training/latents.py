"""Turn examples into the latents that a training reads, through a cache.

Shapes: B examples at once, S pixels a side, c channels of the VAE's pictures, (C, h, w) a latent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from threedis_core.depth import DepthMap
from threedis_core.errors import DataError, DepthError, OptionError, WeightsError
from threedis_core.interfaces import DepthEstimator
from threedis_core.progress import Progress, silent
from threedis_core.safe_image import open_picture
from threedis_diffusers.quiet import quiet
from threedis_ldm3d.training.found import (
    BadExample,
    BadExampleError,
    Example,
    Found,
    check_there,
)
from threedis_ldm3d.training.shards import Made, Shards

VERSION = 1
"""Of what is in the caches; another one makes them anew."""
BATCH = 16
"""Pictures that go through an estimator or a VAE together."""


def cached_latents(
    found: Found,
    vae: Any,
    *,
    size: int,
    folder: str | Path,
    estimator: DepthEstimator | None = None,
    estimator_id: str = "",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    rank: int = 0,
    world: int = 1,
    progress: Progress = silent,
) -> Shards:
    """The latents of all examples, made where ``folder`` does not hold them yet.

    Args:
        found: The examples.
        vae: A diffusers ``AutoencoderKL`` whose pictures have 4 channels (red, green, blue, depth)
            or 1 (depth). It is put on ``device`` with ``dtype``.
        size: Side in pixels of the square that pictures and depth maps are stretched to, so that
            boxes, which are fractions of the picture, stay where they are.
        folder: Where latents and estimated depth are kept.
        estimator: Makes the depth of examples that have none; closed when it has.
        estimator_id: Says what the estimator is and how it is set.
        device: Where the VAE works.
        dtype: What it computes in.
        rank: This process, of ``world`` that build the cache together.
        world: How many do.
        progress: Told about the examples of this process.
    Returns:
        The cache of float16 latents (C, h, w), mean of the posterior, shifted and scaled as the
        U-Net sees them. It is open if ``world`` is 1; else wait for all processes and open it.
    Raises:
        OptionError: A VAE of other channels, or an example needs an estimator and there is none.
        DataError: The cache cannot be written.
        WeightsError: The VAE makes numbers that float16 cannot hold.
    """
    _check_channels(vae)
    if estimator is None:
        _check_depth_is_there(found.examples)
    folder = Path(folder)
    depth_print = fingerprint("depth", estimator_id, size)
    labels = Shards(folder / f"depth-{depth_print[:12]}", depth_print)
    encoder = LatentEncoder(vae, size, device, dtype, estimator, labels)
    latent_print = fingerprint("latents", estimator_id, size, str(dtype), vae_checksum(vae))
    shards = Shards(folder / f"latents-{latent_print[:12]}", latent_print)
    shards.build(found.examples, encoder, progress, rank, world)
    if estimator is not None:
        estimator.close()
    if world == 1:
        shards.open()
    return shards


class LatentEncoder:
    """Makes the latents of examples; what ``Shards.build`` calls.

    Args:
        vae: As for ``cached_latents``.
        size: Likewise.
        device: Likewise.
        dtype: Likewise.
        estimator: Likewise.
        labels: The cache of what the estimator makes, so that another VAE needs no second estimate.
    """

    def __init__(
        self,
        vae: Any,
        size: int,
        device: torch.device | str,
        dtype: torch.dtype,
        estimator: DepthEstimator | None,
        labels: Shards,
    ) -> None:
        with quiet():  # diffusers would rather cast while loading
            self._vae = vae.to(device, dtype).eval()
        self._colour = vae.config.in_channels == 4
        self._size = size
        self._estimator = estimator
        self._labels = labels

    def __call__(self, number: int, examples: Sequence[Example]) -> Made:
        """The latents of one shard's examples."""
        labels, bad = self._estimated(number, examples)
        spoilt = {example.name for example in bad}
        rows: list[Tensor] = []
        kept: list[int] = []
        for places in _batches([i for i, one in enumerate(examples) if one.name not in spoilt]):
            pictures: list[Tensor] = []
            for place in places:
                try:
                    pictures.append(self._picture(examples[place], labels.get(place)))
                    kept.append(place)
                except BadExampleError as problem:
                    bad.append(problem.named(examples[place].name))
            if pictures:
                rows.append(self._encode(torch.stack(pictures)))
        return Made(torch.cat(rows) if rows else torch.zeros(0), kept, bad)

    def _estimated(
        self, number: int, examples: Sequence[Example]
    ) -> tuple[dict[int, Tensor], list[BadExample]]:
        """Estimated depth (1, S, S) by place, and the pictures that cannot be opened for it."""
        if all(example.depth is not None for example in examples):
            return {}, []
        shard = self._labels.shard(number, examples, self._estimate)
        rows = shard.read(range(len(shard.kept))).float() if shard.kept else ()
        return dict(zip(shard.kept, rows, strict=True)), list(shard.bad)

    def _estimate(self, number: int, examples: Sequence[Example]) -> Made:
        """Depth in [0, 1], shape (1, S, S), of the examples without a depth map."""
        rows: list[Tensor] = []
        kept: list[int] = []
        bad: list[BadExample] = []
        for places in _batches([i for i, one in enumerate(examples) if one.depth is None]):
            pictures: list[Image.Image] = []
            for place in places:
                try:
                    pictures.append(open_image(examples[place]))
                    kept.append(place)
                except BadExampleError as problem:
                    bad.append(problem.named(examples[place].name))
            maps = self._estimator.estimate(pictures, silent) if pictures else []
            rows += [self._stretched(depth).half() for depth in maps]
        return Made(torch.stack(rows) if rows else torch.zeros(0), kept, bad)

    def _picture(self, example: Example, label: Tensor | None) -> Tensor:
        """What the VAE is given of an example: (c, S, S) in [-1, 1]."""
        depth = None if label is not None else open_depth(example)
        near = self._stretched(depth) if label is None else label
        near = near * 2 - 1
        if not self._colour:
            return near
        image = open_image(example)
        if depth is not None and (depth.width, depth.height) != image.size:
            raise BadExampleError(
                "depth of another size",
                f"{example.depth}: {depth.width}x{depth.height} pixels; expected "
                f"{image.width}x{image.height} like its image",
            )
        small = image.resize((self._size, self._size), Image.Resampling.BILINEAR)
        red_green_blue = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 127.5 - 1
        return torch.cat([red_green_blue, near])

    def _stretched(self, depth: DepthMap) -> Tensor:
        return torch.from_numpy(depth.resize(self._size, self._size).values.copy())[None]

    @torch.no_grad()
    def _encode(self, pictures: Tensor) -> Tensor:
        """(B, c, S, S) in [-1, 1] -> (B, C, h, w), float16 on the CPU."""
        vae = self._vae
        mean = vae.encode(pictures.to(vae.device, vae.dtype)).latent_dist.mean
        shift = vae.config.get("shift_factor") or 0.0
        latents = ((mean - shift) * vae.config.scaling_factor).half().cpu()
        if not latents.isfinite().all():
            raise WeightsError(
                "the VAE makes latents that float16 cannot hold; give it in float32, or another VAE"
            )
        return latents


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
    """The depth map of an example that has one.

    Raises:
        BadExampleError: It is missing or broken.
    """
    if example.depth is None:
        raise BadExampleError("missing depth", "it has no depth map, and none was estimated")
    check_there(example.depth, "depth")
    try:
        return DepthMap.load(example.depth)
    except DepthError as error:
        raise BadExampleError("broken depth", str(error)) from None


def fingerprint(*facts: Any) -> str:
    """A checksum of what decides what is in a cache."""
    return hashlib.sha256(json.dumps([VERSION, *facts]).encode()).hexdigest()


def vae_checksum(vae: Any) -> str:
    """A checksum of a VAE's weights and of its config."""
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, weight in sorted(vae.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _batches(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), BATCH):
        yield places[start : start + BATCH]


def _check_channels(vae: Any) -> None:
    channels = vae.config.in_channels
    if channels not in (1, 4):
        raise OptionError(
            f"the VAE takes pictures of {channels} channels; expected 4 (red, green, blue, depth) "
            "or 1 (depth): name a text-to-depth model such as Intel/ldm3d-4c"
        )


def _check_depth_is_there(examples: Sequence[Example]) -> None:
    without = [example.name for example in examples if example.depth is None]
    if without:
        raise OptionError(
            f"{len(without)} of {len(examples)} examples have no depth map, such as "
            f"{without[0]!r}; name a depth estimator, or give every example a depth map"
        )
