"""A batch knows at each step what its rows read, and how its plans are carried out."""

from __future__ import annotations

import numpy as np
import torch

from threedis_core.attention import CONTROLS, ChosenLowering, JointPhases, JointRow, TokenOrder
from threedis_core.values.schedule import ControlSchedule, StepRange

CPU = torch.device("cpu")
MASKS = np.array([[[True, False], [False, False]]])


def phases(row: JointRow, **steps: int | None) -> JointPhases:
    schedule = ControlSchedule({name: StepRange.first(count) for name, count in steps.items()})
    return JointPhases(
        [JointRow.unhooked(torch.zeros(2, 3), (2, 2)), row],
        schedule,
        lambda plans, controls: ChosenLowering("dense", "+".join(sorted(controls))),
        CPU,
        TokenOrder(image_first=True),
    )


def test_a_phase_goes_on_until_other_controls_are_on() -> None:
    made = phases(JointRow(torch.ones(2, 2, 3), MASKS), i2i=1, i2t=3)
    first = made.at(0)
    second = made.at(1, first)
    assert first.controls == {"i2i", "i2t"}
    assert second is not first
    assert made.at(2, second) is second
    made.at(3, second)
    reasons = {"+".join(sorted(on)): one.reason for on, one in made.summary(5).items()}
    plain = "every token may see every other: the model's own attention"
    assert reasons == {"i2i+i2t": "i2i+i2t", "i2t": "i2t", "": plain}


def test_where_nothing_is_on_the_instances_texts_are_gone_and_nothing_is_masked() -> None:
    made = phases(JointRow(torch.ones(2, 2, 3), MASKS), **dict.fromkeys(CONTROLS, 1))
    on, off = made.at(0), made.at(1)
    assert on.text.shape == (2, 4, 3)
    assert off.text.shape == (2, 2, 3)
    assert on.attention() is on.attention()
    assert off.attention() is off.attention("image") is None


def test_texts_that_are_there_unmasked_hide_only_the_padding_of_others() -> None:
    """``texts`` is no rule of attention: the other row's padding alone is masked."""
    made = phases(JointRow(torch.ones(2, 2, 3), MASKS), texts=None).at(0)
    assert [plan.padding for plan in made.plans] == [2, 0]
    attention = made.attention()
    assert attention is not None
    assert made.attention("image") is None
    assert made.memory == attention.memory > 0
