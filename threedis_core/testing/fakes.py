"""Backends without a model: for tests of everything around one."""

from __future__ import annotations

from collections.abc import Sequence

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
from threedis_core.testing.samples import sample_depth
from threedis_core.values.depth import DepthMap

CONTROL = "regions"


class FakeRendererOptions(BackendOptions):
    """``tint`` is the share of the instance's colour, in [0, 1]."""

    steps: int = Field(default=3, ge=1)
    tint: float = Field(default=0.5, ge=0, le=1)
    max_instances: int | None = 32


class FakeRenderer(RenderBackend):
    """Draw the depth map in grey and tint each region with a colour drawn from the seed."""

    Options = FakeRendererOptions
    options: FakeRendererOptions

    @property
    def capabilities(self) -> Capabilities:
        """Multiples of 8, 64 x 64 by default, one control."""
        return Capabilities(
            size_multiple=8,
            default_size=(64, 64),
            default_steps=self.options.steps,
            default_guidance=1.0,
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
        random = np.random.default_rng(request.seed)
        width, height = request.width, request.height
        grey = request.depth.resize(width, height).values[..., None]
        picture: NDArray[np.float32] = np.repeat(grey, 3, axis=2) * 0.9
        picture += random.uniform(0, 0.1, picture.shape).astype(np.float32)
        if request.control is None or request.control.active(0):
            for mask in request.regions.pixel_masks(height, width).astype(bool):
                colour = random.uniform(0, 1, 3).astype(np.float32)
                picture[mask] += self.options.tint * (colour - picture[mask])
        return Image.fromarray((picture * 255).round().astype(np.uint8))


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
