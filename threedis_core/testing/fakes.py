"""Backends without a model: for tests of everything around one.

H, W = height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from threedis_core.plugin.interfaces import (
    BackendOptions,
    Capabilities,
    DepthModel,
    DepthRequest,
    RenderBackend,
    RenderRequest,
    RenderResult,
)
from threedis_core.plugin.progress import PreviewingProgress, Progress, silent
from threedis_core.plugin.request_checks import check_request
from threedis_core.presence.hues import HUES, asked_hue
from threedis_core.testing.samples import sample_depth
from threedis_core.values.depth import DepthMap

CONTROL = "regions"
DENOISING = 0.6
"""How much of the way each step goes."""

Pixels = NDArray[np.float32]


class FakeRendererOptions(BackendOptions):
    """``tint`` is the share of the instance's colour, in [0, 1]."""

    steps: int = Field(default=3, ge=1)
    tint: float = Field(default=0.9, ge=0, le=1)
    max_instances: int | None = 32


class FakeRenderer(RenderBackend):
    """Draw the depth map in the colours of the prompts, step by step out of noise."""

    Options = FakeRendererOptions
    options: FakeRendererOptions

    @property
    def capabilities(self) -> Capabilities:
        """Multiples of 8, 64 x 64 by default, one control."""
        return Capabilities(
            size_multiple=8,
            default_size=(64, 64),
            default_steps=self.options.steps,
            default_guidance=None,
            guidance=False,
            max_instances=self.options.max_instances,
            controls=frozenset({CONTROL}),
        )

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Draw every request; a step only reports progress, and shows the depth if it is asked."""
        for request in requests:
            check_request(request, self.capabilities, "fake")
        steps = max((request.steps or self.options.steps for request in requests), default=0)
        for step in range(steps):
            progress("render", step + 1, steps)
            if isinstance(progress, PreviewingProgress):
                self._preview(requests, step + 1, progress)
        return [RenderResult(self._draw(request), {"fake": True}) for request in requests]

    def _preview(
        self, requests: Sequence[RenderRequest], done: int, progress: PreviewingProgress
    ) -> None:
        if done % progress.previews_every == 0:
            for index, request in enumerate(requests):
                progress.preview(index, request.depth.to_image().convert("RGB"))

    def _draw(self, request: RenderRequest) -> Image.Image:
        shape = (request.height, request.width, 3)
        picture = np.random.default_rng(request.seed).random(shape, dtype=np.float32)
        for step in range(request.steps or self.options.steps):
            picture += DENOISING * (self.target(request, step) - picture)
        return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))

    def target(self, request: RenderRequest, step: int) -> Pixels:
        """What ``step`` draws towards, shape (H, W, 3), values about 0..1."""
        height, width = request.height, request.width
        colours = np.tile(colour_of(request.layout.prompt), (height, width, 1))
        if CONTROL in active_controls(request, step):
            masks = request.regions.pixel_masks(height, width).astype(bool)
            for instance, mask in zip(request.layout.instances, masks, strict=True):
                colours[mask] += self.options.tint * (colour_of(instance.prompt) - colours[mask])
        if request.layout.negative_prompt:
            colours -= 0.3 * colour_of(request.layout.negative_prompt)
        grey = request.depth.resize(width, height).values[..., None]
        return np.asarray((0.5 + 0.5 * grey) * colours, np.float32)


def active_controls(request: RenderRequest, step: int) -> frozenset[str]:
    """The controls that are on at ``step``; all of them if the request does not say."""
    return frozenset({CONTROL}) if request.control is None else request.control.active(step)


def colour_of(text: str) -> NDArray[np.float32]:
    """A colour for a text, RGB of 0..1: of the hue it names, if any; another text, another one."""
    own = np.random.default_rng(crc32(text.encode())).random(3, dtype=np.float32)
    if (hue := asked_hue(text)) is None:
        return own
    low, high = HUES[hue]
    middle = (low + (high - low) % 180 / 2) % 180 / 180
    return np.asarray(hsv_to_rgb(middle, 1.0, 0.8 + 0.2 * float(own[0])), np.float32)


class FakeDepthModelOptions(BackendOptions):
    """``noise`` is how far the seed moves the depth, in [0, 1]."""

    noise: float = Field(default=0.05, ge=0, le=1)


class FakeDepthModel(DepthModel):
    """Draw each box as a plane in front of a floor, with noise from the seed."""

    Options = FakeDepthModelOptions
    options: FakeDepthModelOptions

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Draw every request."""
        maps: list[DepthMap] = []
        for done, request in enumerate(requests, start=1):
            values = sample_depth(request.layout, request.width, request.height).values
            random = np.random.default_rng(request.seed)
            noise = random.uniform(0, self.options.noise, values.shape).astype(np.float32)
            maps.append(DepthMap(np.clip(values - noise, 0, 1)))
            progress("depth", done, len(requests))
        return maps
