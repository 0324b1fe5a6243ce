"""The block mask for FlexAttention."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from threedis_core.attention import JointPlan
from threedis_core.attention.block_mask import BlockMaskAttention
from threedis_core.attention.joint_controls import CONTROLS
from threedis_core.values.box import Box
from threedis_core.values.regions import Regions

CPU = torch.device("cpu")
ALL = frozenset(CONTROLS)
PHASES = (ALL, ALL - {"i2i"}, ALL - {"t2t"})


def plan(instances: int, side: int, text: int = 10) -> JointPlan:
    """Columns of equal width over the upper half of a square grid."""
    masks = np.zeros((instances, side, side), np.bool_)
    for index, columns in enumerate(np.array_split(np.arange(side), instances)):
        masks[index, : side // 2, columns] = True
    return JointPlan((text,) * (1 + instances), masks)


def make(
    given: JointPlan, controls: frozenset[str], pictures: int = 1, kernel: Any = None
) -> BlockMaskAttention:
    return BlockMaskAttention([given] * pictures, controls, CPU, torch.float32, kernel)


@pytest.mark.parametrize("controls", PHASES, ids=["all", "no i2i", "no t2t"])
def test_the_blocks_are_those_that_asking_every_pair_of_tokens_gives(
    controls: frozenset[str],
) -> None:
    given = plan(3, 24, text=100)
    made = make(given, controls).block_mask
    asked = create_block_mask(made.mask_mod, 1, None, given.tokens, given.tokens, device="cpu")
    assert torch.equal(made.to_dense(), asked.to_dense())
    assert torch.equal(made.kv_num_blocks, asked.kv_num_blocks)
    assert torch.equal(made.full_kv_num_blocks, asked.full_kv_num_blocks)
    assert 0 < made.full_kv_num_blocks.sum() < made.to_dense().sum()


@st.composite
def pictures(draw: st.DrawFn) -> list[JointPlan]:
    """Two pictures of some hundred tokens, of boxes that overlap or are smaller than a token."""
    rows, columns = draw(st.integers(9, 20)), draw(st.integers(9, 20))
    corner, side = st.floats(0, 0.8), st.floats(0.001, 0.9)
    box = st.builds(
        lambda x, y, w, h: Box.from_xyxy((x, y, min(1.0, x + w), min(1.0, y + h))),
        *(corner, corner, side, side),
    )
    plans: list[JointPlan] = []
    for _ in range(2):
        boxes = tuple(draw(st.lists(box, max_size=4)))
        masks = Regions(boxes, (None,) * len(boxes), 64, 64).token_masks(rows, columns)
        assert masks.any((1, 2)).all()
        lengths = st.lists(st.integers(1, 150), min_size=len(boxes) + 1, max_size=len(boxes) + 1)
        plans.append(JointPlan(tuple(draw(lengths)), masks))
    tokens = max(plan.text_tokens for plan in plans)
    return [plan.padded(tokens) for plan in plans]


@hypothesis.settings(max_examples=12)
@hypothesis.given(plans=pictures(), controls=st.frozensets(st.sampled_from(CONTROLS)))
def test_the_blocks_of_any_pictures_are_those_that_asking_every_pair_gives(
    plans: list[JointPlan], controls: frozenset[str]
) -> None:
    made = BlockMaskAttention(plans, controls, CPU, torch.float32).block_mask
    tokens = plans[0].tokens
    asked = create_block_mask(made.mask_mod, 2, None, tokens, tokens, device="cpu")
    assert torch.equal(made.to_dense().expand_as(asked.to_dense()), asked.to_dense())
    full = (made.full_kv_num_blocks, asked.full_kv_num_blocks)
    assert torch.equal(full[0].expand_as(full[1]), full[1])


def test_the_order_puts_the_image_tokens_of_a_cell_side_by_side() -> None:
    given = plan(3, 9)
    order = make(given, ALL).order
    assert order is not None
    assert order.shape == (1, 81)
    assert sorted(order[0].tolist()) == list(range(81))
    labels = given.labels[given.text_tokens :][order[0].numpy()]
    assert (np.diff(labels) != 0).sum() == 3


def test_it_compiles_once_for_all_phases_and_layouts_and_rarely_for_sizes(
    heads: Callable[..., list[Tensor]],
) -> None:
    torch.compiler.reset()
    counter = CompileCounter()
    kernel = torch.compile(flex_attention, backend=counter)

    def call(given: JointPlan, controls: frozenset[str], pictures: int = 1) -> None:
        attention = make(given, controls, pictures, kernel)
        attention(*heads([given] * pictures))

    with torch.no_grad():
        for controls in PHASES:
            call(plan(3, 12, text=40), controls)
            call(plan(1, 12, text=80), controls)  # as many tokens, other cells
        assert counter.frame_count == 1
        for side, pictures in ((9, 1), (14, 1), (12, 2), (11, 3)):
            call(plan(3, side, text=40), ALL, pictures)
    # One size, then any size, then any number of pictures: torch gives up after 8.
    assert counter.frame_count <= 3


def test_torch_has_no_complaint_of_an_uncompiled_call(heads: Callable[..., list[Tensor]]) -> None:
    given = plan(2, 6)
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        make(given, ALL)(*heads([given]))
    assert [str(complaint.message) for complaint in complaints] == []
