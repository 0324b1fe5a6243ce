"""Which control is on at which step of a run with joint attention.

The four attention controls say who sees whom: their rules are in ``joint_controls.py`` of
``threedis_core/attention``, their options in ``options.py``. Beside them there is ``texts``: the
instances' texts are there at all. They are there at every step at which any control is on;
``texts`` alone has them there unmasked, and where nothing is on they are dropped (``texts_steps``).

A fifth rule of who sees whom starts in ``joint_controls.py``; any other control is a name in
``SCHEDULED``. Both get their options, their range of steps here, and where it is no rule of
attention, their effect in ``hook.py``, which is told the controls of each phase.
"""

from __future__ import annotations

import math

from threedis_core.attention import CONTROLS
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.options import JointOptions

TEXTS = "texts"
SCHEDULED = frozenset({*CONTROLS, TEXTS})
"""Every control that a schedule may switch."""
PUBLISHED_STEPS = 20
"""The run length that the options' step counts are meant for."""
PUBLISHED_I2I_STEPS = {512: 4, 768: 3, 1024: 2}
"""Steps of i2i by the picture's side in pixels. Source: 3DIS-FLUX (arXiv 2501.05131)."""


def default_i2i_steps(width: int, height: int) -> int:
    """The published count for the published side nearest to the picture's mean side.

    Args:
        width: Picture width in pixels; the mean side is sqrt(width * height).
        height: Picture height in pixels.
    """
    side = math.sqrt(width * height)
    return PUBLISHED_I2I_STEPS[min(PUBLISHED_I2I_STEPS, key=lambda known: abs(known - side))]


def scaled(count: int | None, steps: int) -> int | None:
    """A step count of a 20-step run in a run of ``steps``: rounded, and at least 1 unless 0."""
    if not count:
        return count
    return max(1, math.floor(count * steps / PUBLISHED_STEPS + 0.5))


def control_schedule(options: JointOptions, width: int, height: int, steps: int) -> ControlSchedule:
    """The options' controls for a picture of ``width`` x ``height`` pixels in ``steps`` steps.

    Nothing is on after ``texts_steps``: from there on it is the base model on the global prompt.
    """
    most = scaled(options.texts_steps, steps)
    ranges = {TEXTS: StepRange.first(most)}
    for control in CONTROLS:
        count = options.control_steps(control)
        if control == "i2i" and count is None:
            count = default_i2i_steps(width, height)
        if options.is_on(control):
            ranges[control] = StepRange.first(_smaller(scaled(count, steps), most))
    return ControlSchedule(ranges)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((count for count in (one, other) if count is not None), default=None)
