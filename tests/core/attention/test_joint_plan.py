"""The cells of joint attention, and what a plan refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from threedis_core.attention import Cell, JointPlan, lower
from threedis_core.attention.joint_controls import CONTROLS
from threedis_core.errors import OptionError, RenderError
from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions

CPU = torch.device("cpu")
ALL = frozenset(CONTROLS)


def two_overlapping(padding: int = 0) -> JointPlan:
    """On a 2x4 grid: instance 1 has columns 0 and 1, instance 2 columns 1 and 2."""
    masks = np.zeros((2, 2, 4), np.bool_)
    masks[0, :, 0:2] = masks[1, :, 1:3] = True
    return JointPlan((3, 1, 2), masks, padding)


def test_tokens_of_the_same_membership_form_a_cell() -> None:
    plan = two_overlapping(padding=2)
    assert plan.cells[:4] == (
        Cell("text", frozenset({0}), 3),
        Cell("text", frozenset({1}), 1),
        Cell("text", frozenset({2}), 2),
        Cell("padding", frozenset(), 2),
    )
    members = [frozenset({1}), frozenset({1, 2}), frozenset({2}), frozenset()]
    assert set(plan.cells[4:]) == {Cell("image", each, 2) for each in members}
    row = [plan.cells[label].members for label in plan.labels[-4:]]
    assert row == members
    assert len(plan.labels) == plan.tokens == plan.text_tokens + plan.image_tokens == 16


def test_overlap_is_a_union() -> None:
    plan = two_overlapping()
    seen = plan.permissions(ALL)[plan.labels[-3]]
    assert {(c.kind, c.members) for c, may in zip(plan.cells, seen, strict=True) if may} == {
        ("text", frozenset({1})),
        ("text", frozenset({2})),
        ("image", frozenset({1})),
        ("image", frozenset({2})),
        ("image", frozenset({1, 2})),
    }


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_is_off_lifts_only_its_own_rule(control: str) -> None:
    plan = two_overlapping()
    lifted = plan.permissions(ALL - {control}) & ~plan.permissions(ALL)
    pairs = np.argwhere(lifted)
    letters = {"image": "i", "text": "t"}
    kinds = {
        letters[plan.cells[row].kind] + "2" + letters[plan.cells[key].kind] for row, key in pairs
    }
    # i2i also keeps the global text from the regions.
    assert kinds == ({"i2i", "i2t"} if control == "i2i" else {control})
    texts = {key for row, key in pairs if plan.cells[key].kind == "text"}
    if control == "i2i":
        assert texts == {0}


def test_a_region_below_a_token_still_has_one() -> None:
    regions = Regions((Box.from_xyxy((0.40, 0.40, 0.41, 0.41)),), (None,), 64, 64)
    plan = JointPlan((2, 2), regions.token_masks(4, 4))
    assert Cell("image", frozenset({1}), 1) in plan.cells


def test_padding_to_a_length_adds_tokens_that_belong_to_nobody() -> None:
    plan = two_overlapping(padding=1).padded(10)
    assert (plan.padding, plan.text_tokens) == (4, 10)
    allowed = plan.permissions(frozenset())
    assert np.argwhere(~allowed[3]).ravel().tolist() == [i for i in range(len(allowed)) if i != 3]
    assert np.argwhere(~allowed[:, 3]).ravel().tolist() == [
        i for i in range(len(allowed)) if i != 3
    ]
    assert two_overlapping().permissions(frozenset()).all()


def test_a_text_is_not_padded_to_less_than_it_has() -> None:
    with pytest.raises(RenderError, match="text of 6 tokens to 5"):
        two_overlapping().padded(5)


@pytest.mark.parametrize(
    ("lengths", "shape", "padding"),
    [((2,), (1, 2, 2), 0), ((2, 2), (2, 2), 0), ((2, 0), (1, 2, 2), 0), ((2,), (0, 2, 2), -1)],
)
def test_numbers_that_do_not_fit_together_are_refused(
    lengths: tuple[int, ...], shape: tuple[int, ...], padding: int
) -> None:
    with pytest.raises(RenderError, match="expected"):
        JointPlan(lengths, np.zeros(shape, np.bool_), padding)


def test_an_unknown_control_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="control i2x; expected some of i2i, i2t, t2i, t2t"):
        two_overlapping().permissions(frozenset({"i2x"}))


def test_an_unknown_lowering_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="'sparse'; expected one of dense, segments, block_mask"):
        lower([two_overlapping()], ALL, "sparse", CPU, torch.float32)


def test_plans_of_different_sizes_do_not_make_a_batch() -> None:
    with pytest.raises(RenderError, match="expected one size"):
        lower([two_overlapping(), two_overlapping(1)], ALL, "dense", CPU, torch.float32)
