"""What was measured: the lowerings against each other on one machine, for one size and phase."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import log

import torch

ALIKE = 2.0
"""A measurement speaks for runs with up to this many times more or fewer instances or tokens."""


@dataclass(frozen=True)
class Setting:
    """Where attention runs, and how much of it there is.

    Args:
        device: The maker's name of the device; of a CPU its instructions and torch's threads.
        torch: torch's version.
        dtype: The queries', as "bfloat16".
        head: Channels of a head.
        phase: The controls that are on; see ``phase_name``.
        image_tokens: Image tokens of a picture.
        text_tokens: Text tokens of a picture, of all its prompts.
        instances: Instances of a picture.
    """

    device: str
    torch: str
    dtype: str
    head: int
    phase: str
    image_tokens: int
    text_tokens: int
    instances: int

    def distance(self, other: Setting) -> float | None:
        """How far a measurement is from what is wanted; None: it says nothing of it."""
        if self._fixed() != other._fixed():
            return None
        ratios = (
            abs(log((1 + self.instances) / (1 + other.instances))),
            abs(log(self.text_tokens / other.text_tokens)),
        )
        return sum(ratios) if max(ratios) <= log(ALIKE) else None

    def _fixed(self) -> tuple[object, ...]:
        return self.device, self.torch, self.dtype, self.head, self.phase, self.image_tokens


@dataclass(frozen=True)
class Race:
    """The outcome of one measurement.

    Args:
        setting: Where and for what.
        seconds: Median time of one attention call by each lowering that ran.
    """

    setting: Setting
    seconds: Mapping[str, float]

    @property
    def fastest(self) -> str:
        """The lowering that won."""
        return min(self.seconds, key=lambda name: self.seconds[name])

    @property
    def lead(self) -> float:
        """How many times faster it is than the next one; 1 if there is no other."""
        times = sorted(self.seconds.values())
        return times[1] / times[0] if len(times) > 1 else 1.0


def phase_name(controls: Set[str]) -> str:
    """The name of a phase by its controls: "i2i+i2t+t2i+t2t"."""
    return "+".join(sorted(controls))


def machine_of(device: torch.device) -> str:
    """The name of a device that times depend on."""
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return f"cpu {capability}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
