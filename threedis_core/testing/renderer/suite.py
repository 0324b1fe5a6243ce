"""What a renderer's tests say of it, and what the checks share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from threedis_core.plugin.interfaces import Capabilities, RenderBackend, RenderRequest
from threedis_core.plugin.request_checks import nearest_size
from threedis_core.testing.renderer.scenes import PROMPTS, scene
from threedis_core.testing.samples import sample_request
from threedis_core.values.schedule import ControlSchedule, StepRange

Pixels = NDArray[np.int16]
"""A picture, shape (H, W, 3), values 0..255; their differences are numbers, too."""


class RendererSuite:
    """What a test file overrides, and requests to test with.

    Args:
        plugin_module: The module your entry point names.
        tolerance: How far a picture of a batch may be from the same picture alone, of 255.
    """

    plugin_module: ClassVar[str]
    tolerance: ClassVar[int] = 2

    def make_backend(self, **options: Any) -> RenderBackend:
        """Make the backend under test, small and fast; must be overridden."""
        raise NotImplementedError

    def make_backend_without_weights(self) -> RenderBackend:
        """Make one that could not load anything; override if your backend loads weights."""
        return self.make_backend()

    def model_folder(self) -> Path | None:
        """The folder of the model under test, so that each of its files can be taken away.

        ``make_backend(model=...)`` must take another folder. None skips the check.
        """
        return None

    def attention_processors(self, backend: RenderBackend) -> object:
        """A comparable snapshot of what you attach to a model that is no ``torch.nn.Module``.

        Whatever lies in torch modules is compared without it. It is asked before the first render,
        too. None if there is nothing.
        """
        return None

    def base_model_picture(self, request: RenderRequest) -> Image.Image | None:
        """The base model's own picture of a request, without your backend; None skips the check.

        For a diffusers model, what the stock pipeline draws.
        """
        return None

    def request(self, instances: int = 2, seed: int = 0, **changes: Any) -> RenderRequest:
        """A request of the backend's default size, its instances side by side."""
        changes.setdefault("size", self.capabilities().default_size)
        return sample_request(self.instances(instances), seed, **changes)

    def scene(self, **changes: Any) -> RenderRequest:
        """A request of the backend's default size, its instances in quarters; see ``scene``."""
        changes.setdefault("size", self.capabilities().default_size)
        changes.setdefault("prompts", PROMPTS[: self.instances(len(PROMPTS))])
        return scene(**changes)

    def capabilities(self) -> Capabilities:
        """What the backend under test says it can do."""
        return self.make_backend().capabilities

    def steps(self, more: int = 0) -> int:
        """The fewest steps that make a schedule, two as a rule, and ``more``."""
        return max(2, self.capabilities().min_steps) + more

    def all_on(self, start: int = 0, stop: int | None = None) -> ControlSchedule:
        """Every control on, from one step to another."""
        steps = StepRange(start, stop)
        return ControlSchedule(dict.fromkeys(self.capabilities().controls, steps))

    def draws(self, size: tuple[int, int]) -> bool:
        """True if the backend says that it can draw this (width, height)."""
        return nearest_size(*size, self.capabilities()) == size

    def needs(self, capability: str) -> None:
        """Skip the check unless the backend says that it has this."""
        if not getattr(self.capabilities(), capability):
            pytest.skip(f"the backend has no {capability}")

    def instances(self, wanted: int) -> int:
        """As many instances as a layout may have, at most ``wanted``."""
        most = self.capabilities().max_instances
        return wanted if most is None else min(wanted, most)


def picture(backend: RenderBackend, request: RenderRequest) -> Pixels:
    """What a backend makes of one request."""
    return pictures(backend, [request])[0]


def pictures(backend: RenderBackend, requests: Sequence[RenderRequest]) -> list[Pixels]:
    """What a backend makes of requests at once."""
    return [np.asarray(result.image).astype(np.int16) for result in backend.render(requests)]


def distance(one: Pixels, other: Pixels) -> int:
    """The largest difference of two pictures, of 255."""
    return int(np.abs(one - other).max())


def same(one: Pixels, other: Pixels) -> bool:
    """True if two pictures are equal, pixel by pixel."""
    return bool(np.array_equal(one, other))
