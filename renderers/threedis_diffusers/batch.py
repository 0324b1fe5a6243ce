"""A batch: requests that go through a model together, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        notes: What is to be told of each picture beside what drawing tells, one line each.
    """

    requests: Sequence[RenderRequest]
    steps: int
    guidance: float
    schedule: ControlSchedule
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.requests[0].width, self.requests[0].height

    def cut(self, most: int) -> Iterator[Batch]:
        """The same requests, at most ``most`` at once; those of smaller batches are told so."""
        count = len(self.requests)
        if most >= count:
            yield self
            return
        note = (
            f"the free memory has room for {most} of {count} pictures at once: {most} at a time "
            "were rendered, which rounds otherwise"
        )
        for start in range(0, count, most):
            some = self.requests[start : start + most]
            yield replace(self, requests=some, notes=(*self.notes, note))


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
