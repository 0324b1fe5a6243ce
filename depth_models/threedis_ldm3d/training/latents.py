"""Turn examples into the latents that a training reads, through a cache.

Shapes: B examples at once, S pixels a side, c channels of the VAE's pictures, (C, h, w) a latent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.interfaces import DepthEstimator
from threedis_core.plugin.progress import Progress, silent
from threedis_diffusers.quiet import quiet
from threedis_ldm3d.training.depth_labels import DepthLabels, stretched
from threedis_ldm3d.training.example import BadExampleError, Example, FoundExamples
from threedis_ldm3d.training.example_files import make_in_batches, open_depth, open_image
from threedis_ldm3d.training.shards import MadeExample, Shards

VERSION = 1
"""Of what is in the caches; another one makes them anew."""


def cached_latents(
    found: FoundExamples,
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
        estimator: Makes the depth of examples that have none; without it these are bad.
        estimator_id: Says what the estimator is and how it is set.
        device: Where the VAE works.
        dtype: What it computes in.
        rank: This process, of ``world`` that build the cache together.
        world: How many do.
        progress: Told about the examples of this process.
    Returns:
        The cache of float16 latents (C, h, w), mean of the posterior, scaled as the
        U-Net sees them. Open it when all processes are through.
    Raises:
        OptionError: A VAE of other channels.
        DataError: The cache cannot be written.
        WeightsError: The VAE makes numbers that float16 cannot hold.
    """
    _check_channels(vae)
    labels, origin = None, ""
    if estimator is not None and any(example.depth is None for example in found.examples):
        origin = fingerprint("depth", estimator_id, size)
        labels = DepthLabels(estimator, size, Shards(Path(folder, f"depth-{origin[:12]}"), origin))
    encoder = LatentEncoder(vae, size, device, dtype, labels)
    own = fingerprint("latents", origin, size, str(dtype), vae_checksum(vae))
    shards = Shards(Path(folder, f"latents-{own[:12]}"), own)
    shards.build(found.examples, encoder, progress, rank, world)
    return shards


class LatentEncoder:
    """Makes the latents of examples; what ``Shards.build`` calls.

    Args:
        vae: As for ``cached_latents``.
        size: Likewise.
        device: Likewise.
        dtype: Likewise.
        labels: The depth of examples without a depth map; None: these are bad.
    """

    def __init__(
        self,
        vae: Any,
        size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        labels: DepthLabels | None = None,
    ) -> None:
        with quiet():  # diffusers would rather cast while loading
            self._vae = vae.to(device, dtype).eval()
        self._colour = vae.config.in_channels == 4
        self._size = size
        self._labels = labels

    def __call__(self, number: int, examples: Sequence[Example]) -> MadeExample:
        """The latents of one shard's examples."""
        labels, bad = ({}, ()) if self._labels is None else self._labels.of(number, examples)
        spoilt = {example.name for example in bad}
        places = [place for place, one in enumerate(examples) if one.name not in spoilt]

        def load(place: int) -> Tensor:
            return self._picture(examples[place], labels.get(place))

        made = make_in_batches(examples, places, load, self._encode)
        return replace(made, bad=(*bad, *made.bad))

    def _picture(self, example: Example, label: Tensor | None) -> Tensor:
        """What the VAE is given of an example: (c, S, S) in [-1, 1]."""
        if label is None:
            depth = open_depth(example)
            near, depth_size = stretched(depth, self._size), (depth.width, depth.height)
        else:
            near, depth_size = label.float(), None
        if not self._colour:
            return near * 2 - 1
        image = open_image(example)
        if depth_size not in (None, image.size):
            raise BadExampleError(
                "depth of another size",
                f"{example.depth}: {depth_size} pixels; expected {image.size} like its image",
            )
        small = image.resize((self._size, self._size), Image.Resampling.BILINEAR)
        colours = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
        return torch.cat([colours, near]) * 2 - 1

    @torch.no_grad()
    def _encode(self, pictures: list[Tensor]) -> Tensor:
        """B times (c, S, S) in [-1, 1] -> (B, C, h, w), float16 on the CPU."""
        vae = self._vae
        mean = vae.encode(torch.stack(pictures).to(vae.device, vae.dtype)).latent_dist.mean
        latents = (mean * vae.config.scaling_factor).half().cpu()
        if not latents.isfinite().all():
            raise WeightsError(
                "the VAE makes latents that float16 cannot hold; check its weights and its "
                "scaling_factor"
            )
        return latents


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


def _check_channels(vae: Any) -> None:
    channels = vae.config.in_channels
    if channels not in (1, 4):
        raise OptionError(
            f"the VAE takes pictures of {channels} channels; expected 4 (red, green, blue, depth) "
            "or 1 (depth): name a text-to-depth model such as Intel/ldm3d-4c"
        )
