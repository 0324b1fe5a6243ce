"""Who sees whom, token by token, as the rules say it, against the plan and the dense mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from threedis_core.attention import JointPlan, lower

CPU = torch.device("cpu")
Strategy = st.SearchStrategy
Token = tuple[str, set[int]]


def tokens_of(plan: JointPlan) -> list[Token]:
    """Each token's kind, and the prompts it is of: its own number, or the instances over it."""
    found: list[Token] = []
    for prompt, length in enumerate(plan.text_lengths):
        found += [("text", {prompt})] * length
    found += [("padding", set())] * plan.padding
    for row in range(plan.masks.shape[1]):
        for column in range(plan.masks.shape[2]):
            covering = {i + 1 for i, mask in enumerate(plan.masks) if mask[row, column]}
            found.append(("image", covering))
    return found


def may_see(query: Token, key: Token, controls: frozenset[str]) -> bool:
    """The rules of the published renderer, and that nobody sees another's padding."""
    (kind, prompts), (key_kind, key_prompts) = query, key
    if "padding" in (kind, key_kind):
        return kind == key_kind
    if kind == "image" and prompts:
        if key_kind == "image":
            return "i2i" not in controls or bool(prompts & key_prompts)
        if key_prompts == {0}:
            return "i2i" not in controls
        return "i2t" not in controls or key_prompts <= prompts
    if kind == "text" and prompts != {0}:
        if key_kind == "image":
            return "t2i" not in controls or prompts <= key_prompts
        return "t2t" not in controls or prompts == key_prompts
    return True


def literal(plan: JointPlan, controls: frozenset[str]) -> np.ndarray:
    """Whether each token may see each other, shape (S, S)."""
    tokens = tokens_of(plan)
    return np.array([[may_see(query, key, controls) for key in tokens] for query in tokens])


def attend_literally(allowed: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax over the permitted keys, in double precision."""
    query, key, value = query.double(), key.double(), value.double()
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.masked_fill(~allowed[:, None], -torch.inf).softmax(-1) @ value


@settings(max_examples=25)
@given(data=st.data())
def test_the_plan_permits_what_the_rules_permit(
    plan_batches: Strategy[list[JointPlan]],
    control_sets: Strategy[frozenset[str]],
    data: st.DataObject,
) -> None:
    controls = data.draw(control_sets)
    for plan in data.draw(plan_batches):
        allowed = plan.permissions(controls)[plan.labels][:, plan.labels]
        assert np.array_equal(allowed, literal(plan, controls))


@settings(max_examples=20)
@given(data=st.data())
def test_dense_attention_is_softmax_over_what_the_rules_permit(
    plan_batches: Strategy[list[JointPlan]],
    control_sets: Strategy[frozenset[str]],
    heads: Callable[..., list[Tensor]],
    data: st.DataObject,
) -> None:
    plans, controls = data.draw(plan_batches), data.draw(control_sets)
    allowed = torch.tensor(np.stack([literal(plan, controls) for plan in plans]))
    attention = lower(plans, controls, "dense", CPU, torch.float32)
    assert (attention is None) == bool(allowed.all())
    if attention is not None:
        inputs = heads(plans)
        expected = attend_literally(allowed, *inputs).float()
        torch.testing.assert_close(attention(*inputs), expected, atol=1e-5, rtol=1e-5)
