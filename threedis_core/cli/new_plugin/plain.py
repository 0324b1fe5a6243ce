"""A renderer without a model: noise becomes the depth map in the colours of the prompts."""

FILES = {
    "$module/__init__.py": '''
"""The renderer ``$name``. Nothing else is imported here, so that listing plugins stays fast."""

from threedis_core import hookimpl


@hookimpl
def threedis_register_renderers(register):
    backend = "$module.backend:${title}Renderer"
    register("$name", backend, "What it draws with, in a few words")
''',
    "$module/options.py": '''
"""The options of ``$name``."""

from __future__ import annotations

from pydantic import Field

from threedis_core import BackendOptions


class ${title}Options(BackendOptions):
    """Unknown names are refused by the base class."""

    steps: int = Field(default=4, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    control_steps: int | None = Field(
        default=None,
        ge=0,
        description="For how many steps each region follows its own prompt; null: all.",
    )
''',
    "$module/model.py": '''
"""Where a model would be: it draws towards a depth map in given colours.

H, W = height and width in pixels.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from threedis_core import RenderRequest

Pixels = NDArray[np.float32]
"""Shape (H, W, 3), values about 0..1."""


def noise(request: RenderRequest) -> Pixels:
    """The start of a picture: the request's seed decides, and no generator is shared."""
    shape = (request.height, request.width, 3)
    return np.random.default_rng(request.seed).random(shape, dtype=np.float32)


def denoise(picture: Pixels, request: RenderRequest, colours: Pixels) -> Pixels:
    """One step."""
    depth = request.depth.resize(request.width, request.height).values[..., None]
    return picture + 0.5 * (0.5 * depth + 0.5 * colours - picture)


def colour_of(text: str) -> Pixels:
    """How a prompt is "encoded", shape (3,)."""
    return np.random.default_rng(crc32(text.encode())).random(3, dtype=np.float32)


def to_image(picture: Pixels) -> Image.Image:
    """RGB."""
    return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))
''',
    "$module/backend.py": '''
"""The renderer ``$name``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from threedis_core import (
    Capabilities,
    ControlSchedule,
    Progress,
    RenderBackend,
    RenderRequest,
    RenderResult,
    StepRange,
    check_request,
    silent,
)
from $module.model import Pixels, colour_of, denoise, noise, to_image
from $module.options import ${title}Options


class ${title}Renderer(RenderBackend):
    """Each region follows its own prompt while the control "regions" is on."""

    Options = ${title}Options
    options: ${title}Options

    @property
    def capabilities(self) -> Capabilities:
        """Known from the options alone: nothing is loaded here."""
        return Capabilities(
            size_multiple=8,
            default_size=(64, 64),
            default_steps=self.options.steps,
            negative_prompt=False,
            guidance=False,
            default_guidance=None,
            controls=frozenset({"regions"}),
        )

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Draw every request; all of them are checked before the first is drawn."""
        for request in requests:
            check_request(request, self.capabilities, "$name")
        total = sum(self._steps(request) for request in requests)
        results: list[RenderResult] = []
        done = 0
        for request in requests:
            picture = noise(request)
            for step in range(self._steps(request)):
                picture = denoise(picture, request, self._colours(request, step))
                done += 1
                progress("render", done, total)
            results.append(RenderResult(to_image(picture), {"steps": self._steps(request)}))
        return results

    def _steps(self, request: RenderRequest) -> int:
        return request.steps or self.options.steps

    def _colours(self, request: RenderRequest, step: int) -> Pixels:
        """Which prompt is heard where at ``step``."""
        shape = (request.height, request.width)
        schedule = request.control
        if schedule is None:
            schedule = ControlSchedule({"regions": StepRange.first(self.options.control_steps)})
        colours = np.tile(colour_of(request.layout.prompt), (*shape, 1))
        if "regions" in schedule.active(step):
            masks = request.regions.pixel_masks(*shape).astype(bool)
            for instance, mask in zip(request.layout.instances, masks, strict=True):
                colours[mask] = colour_of(instance.prompt)
        return colours
''',
    "tests/test_$module.py": '''
"""``$name`` passes the suite that every renderer must pass."""

import numpy as np

from $module.backend import ${title}Renderer
from $module.model import colour_of, denoise, noise, to_image
from $module.options import ${title}Options
from threedis_core.testing import RendererConformance


class Test${title}(RendererConformance):
    plugin_module = "$module"

    def make_backend(self, **options):
        return ${title}Renderer(${title}Options(**options))

    def base_model_picture(self, request):
        """The model alone, never the renderer under test."""
        picture = noise(request)
        colours = np.tile(colour_of(request.layout.prompt), (request.height, request.width, 1))
        for _ in range(4):
            picture = denoise(picture, request, colours)
        return to_image(picture)
''',
}
