"""Attention without a mask: which keys are shared, and the merge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from threedis_core.attention import JointPlan
from threedis_core.attention.segmented.log_sum_exp import attend_plainly, attend_with_lse, merge
from threedis_core.attention.segmented.plan import cluster

TEXT_PHASE = frozenset({"i2t", "t2i", "t2t"})


def plan(instances: int) -> JointPlan:
    """A 16x16 grid with a row of equal regions and a background below, 20 tokens a prompt."""
    masks = np.zeros((instances, 16, 16), np.bool_)
    width = 16 // instances
    for index in range(instances):
        masks[index, :10, index * width : (index + 1) * width] = True
    return JointPlan((20,) * (1 + instances), masks)


@pytest.mark.parametrize("controls", [TEXT_PHASE, TEXT_PHASE | {"i2i"}], ids=["text", "i2i"])
def test_every_pair_that_is_permitted_is_attended_to_once(controls: frozenset[str]) -> None:
    given = plan(4)
    permissions = given.permissions(controls)
    attended = np.zeros(permissions.shape, np.int64)
    for part in cluster(permissions, np.array([cell.size for cell in given.cells])):
        for group in part.groups:
            attended[np.ix_(group.rows, part.shared)] += 1
            attended[np.ix_(group.rows, group.keys)] += 1
    assert np.array_equal(attended, permissions)


def test_in_the_text_phase_the_regions_attend_together_to_image_and_global_text() -> None:
    given = plan(4)
    sizes = np.array([cell.size for cell in given.cells])
    shared = [
        part for part in cluster(given.permissions(TEXT_PHASE), sizes) if len(part.groups) > 1
    ]
    assert len(shared) == 1
    assert len(shared[0].groups) == 4
    assert shared[0].shared @ sizes == 20 + 256
    assert [group.keys @ sizes for group in shared[0].groups] == [20] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("attend", [attend_with_lse, attend_plainly])
def test_two_sets_of_keys_merge_into_attention_to_both(attend, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query = (3 * torch.randn(2, 3, 700, 16)).to(dtype)
    keys, values = torch.randn(2, 2, 3, 50, 16).to(dtype)
    parts = [
        attend(query, keys[:, :, some], values[:, :, some])
        for some in (slice(0, 37), slice(37, None))
    ]
    scores = query.float() @ keys.float().transpose(-1, -2) / 4
    tolerance = 1e-5 if dtype == torch.float32 else 6e-2
    close = {"atol": tolerance, "rtol": tolerance}
    made = merge(*parts)
    assert made.dtype == dtype
    torch.testing.assert_close(made.float(), scores.softmax(-1) @ values.float(), **close)
    assert parts[0][1].dtype == torch.float32
    torch.testing.assert_close(parts[0][1], scores[..., :37].logsumexp(-1), **close)
