"""Right backends for wrong ones to start from, and the suites that try them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from threedis_core.errors import WeightsError
from threedis_core.plugin.inspection import Inspection, ModelPart, NeededFile
from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.request_checks import check_request
from threedis_core.testing import FakeRenderer, RendererConformance
from threedis_core.testing.fakes import FakeRendererOptions, colour_of


class HookedFake(FakeRenderer):
    """A fake with "attention processors": what is attached while it renders."""

    attached: str = "stock"

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        self.attached = "ours"
        try:
            return super().render(requests, progress)
        finally:
            self.attached = "stock"


class FiledOptions(FakeRendererOptions):
    model: str = "there"


class Filed(HookedFake):
    """Reads files of a model before it draws, and has a part in torch."""

    Options = FiledOptions
    files = ("weights.bin", "config.json")

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.net: torch.nn.Module | None = None

    def inspect(self) -> Inspection:
        folder = Path(self.options.model)
        files = [NeededFile(name, 1, (folder / name).exists()) for name in self.files]
        return Inspection(parts=(ModelPart("net", str(folder), tuple(files)),))

    def check(self) -> None:
        if self.net is None and not Filed.inspect(self).ready:
            raise WeightsError(f"no model in {self.options.model}")

    def load(self) -> torch.nn.Module:
        self.check()
        if self.net is None:
            self.net = torch.nn.Sequential(torch.nn.Linear(2, 2))
        return self.net

    def render(self, requests, progress=silent) -> list[RenderResult]:
        for request in requests:
            check_request(request, self.capabilities, "filed")
        self.load()
        return super().render(requests, progress)


class FakeSuite(RendererConformance):
    plugin_module = "threedis_core.refiners"
    backend: ClassVar[type[FakeRenderer]] = HookedFake

    def make_backend(self, **options: Any) -> FakeRenderer:
        return self.backend(self.backend.Options(**options))

    def attention_processors(self, backend: Any) -> object:
        return getattr(backend, "attached", None)

    def base_model_picture(self, request: RenderRequest) -> Image.Image:
        """Noise that becomes grey depth in the prompt's colour: no class of ours is asked."""
        shape = (request.height, request.width, 3)
        picture = np.random.default_rng(request.seed).random(shape, dtype=np.float32)
        depth = request.depth.resize(request.width, request.height).values[..., None]
        target = (0.5 + 0.5 * depth) * colour_of(request.layout.prompt)
        for _ in range(3):
            picture += 0.6 * (target - picture)
        return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))


class FiledSuite(FakeSuite):
    """A fake with files, and without weights where they are not."""

    backend = Filed
    folder: Path

    def make_backend(self, **options: Any) -> FakeRenderer:
        return self.backend(self.backend.Options(**{"model": str(self.folder), **options}))

    def make_backend_without_weights(self) -> FakeRenderer:
        return self.make_backend(model="/no/such/folder")

    def model_folder(self) -> Path:
        return self.folder


def edited(result: RenderResult, **changes: Any) -> RenderResult:
    return RenderResult(**{"image": result.image, "provenance": result.provenance, **changes})


def with_changes(request: RenderRequest, **changes: Any) -> RenderRequest:
    changed = copy.copy(request)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed
