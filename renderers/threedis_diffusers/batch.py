"""A batch: requests that go through a model together, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.schedule import ControlSchedule


@dataclass(frozen=True, eq=False)
class Batch:
    """Requests that go through the model together, and what they share.

    Args:
        requests: The requests; their own steps, guidance and control are not read.
        steps: Denoising steps.
        guidance: Guidance scale.
        schedule: When each control is on.
    """

    requests: Sequence[RenderRequest]
    steps: int
    guidance: float
    schedule: ControlSchedule

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.requests[0].width, self.requests[0].height


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a renderer made of one request.

    Args:
        image: The picture.
        warnings: One line each.
        provenance: JSON-ready, beside what every renderer tells; no paths of this machine.
    """

    image: Image.Image
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
