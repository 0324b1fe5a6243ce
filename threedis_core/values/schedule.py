"""Which control is on at which denoising step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from threedis_core.errors import OptionError


@dataclass(frozen=True)
class StepRange:
    """A half-open range of step indices, ``start <= step < stop``.

    Args:
        start: First step index, >= 0.
        stop: One past the last step index; None means "to the end".
    Raises:
        OptionError: A negative start, or a stop before the start.
    """

    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.stop is not None and self.stop < self.start):
            raise OptionError(
                f"step range {self.start}..{self.stop} is not valid; expected 0 <= start <= stop"
            )

    def __contains__(self, step: object) -> bool:
        return (
            isinstance(step, int) and step >= self.start and (self.stop is None or step < self.stop)
        )

    @classmethod
    def first(cls, steps: int | None) -> StepRange:
        """The first ``steps`` steps (0..steps-1); None means all of them."""
        return cls(0, steps)


@dataclass(frozen=True)
class Phase:
    """A stretch of consecutive steps during which the same controls are on."""

    start: int
    stop: int
    controls: frozenset[str]


@dataclass(frozen=True)
class ControlSchedule:
    """The step range of every control a backend knows, by the control's name.

    A control that is not named is off. ``ControlSchedule()`` has nothing on: the base model.
    U-Net renderers know one control, ``"regions"``.
    """

    ranges: Mapping[str, StepRange] = field(default_factory=dict[str, StepRange])

    def active(self, step: int) -> frozenset[str]:
        """Names of the controls that are on at ``step``."""
        return frozenset(name for name, steps in self.ranges.items() if step in steps)

    def phases(self, steps: int) -> Iterator[Phase]:
        """Split ``steps`` denoising steps into phases, in order, without gaps."""
        start = 0
        for step in range(1, steps + 1):
            if step == steps or self.active(step) != self.active(start):
                yield Phase(start, step, self.active(start))
                start = step
