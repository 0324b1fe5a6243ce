"""Random plans, and attention inputs to try them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from threedis_core.attention import JointAttention, JointPlan
from threedis_core.attention.joint_controls import CONTROLS

HEADS, CHANNELS = 2, 16


@st.composite
def masks(draw: st.DrawFn, rows: int, columns: int) -> np.ndarray:
    """0 to 16 instances on a grid: boxes of any size, at times the whole image or nothing."""
    found = np.zeros((draw(st.integers(0, 16)), rows, columns), np.bool_)
    for mask in found:
        top, left = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
        bottom, right = draw(st.integers(top, rows)), draw(st.integers(left, columns))
        mask[top:bottom, left:right] = True
        if draw(st.integers(0, 9)) == 0:
            mask[:] = True
    return found


@st.composite
def batches(draw: st.DrawFn, largest: int = 3) -> list[JointPlan]:
    """Plans of one grid whose instances differ, their texts padded to one length and beyond."""
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    plans = [_plan(draw, rows, columns) for _ in range(draw(st.integers(1, largest)))]
    tokens = max(plan.text_tokens for plan in plans) + draw(st.integers(0, 3))
    return [plan.padded(tokens) for plan in plans]


def _plan(draw: st.DrawFn, rows: int, columns: int) -> JointPlan:
    found = draw(masks(rows, columns))
    length = st.integers(1, 5)
    lengths = draw(st.lists(length, min_size=len(found) + 1, max_size=len(found) + 1))
    return JointPlan(tuple(lengths), found)


@pytest.fixture(scope="session")
def plan_batches() -> st.SearchStrategy[list[JointPlan]]:
    return batches()


@pytest.fixture(scope="session")
def control_sets() -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(CONTROLS))


@pytest.fixture(scope="session")
def heads() -> Callable[[Sequence[JointPlan], torch.dtype], list[Tensor]]:
    """Random query, key and value for some plans; attention to them is rather peaked."""

    def make(plans: Sequence[JointPlan], dtype: torch.dtype = torch.float32) -> list[Tensor]:
        generator = torch.Generator().manual_seed(plans[0].tokens)
        shape = (3, len(plans), HEADS, plans[0].tokens, CHANNELS)
        return list((2 * torch.randn(shape, generator=generator)).to(dtype))

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    """Attend as a model would: the image tokens arranged before and put back after."""

    def attend(attention: JointAttention, plans: Sequence[JointPlan], *heads: Tensor) -> Tensor:
        if attention.order is None:
            return attention(*heads)
        text = plans[0].text_tokens
        texts = torch.arange(text).expand(len(plans), text)
        order = torch.cat([texts, text + attention.order], 1)[:, None, :, None]
        places = order.expand_as(heads[0])
        out = attention(*(tensor.gather(2, places) for tensor in heads))
        return torch.empty_like(out).scatter(2, places, out)

    return attend
