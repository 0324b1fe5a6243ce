"""The plan holds in any order of tokens: every lowering against a mask written token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from threedis_core.attention import (
    CONTROLS,
    ChosenLowering,
    JointPhases,
    JointPlan,
    JointRow,
    Site,
    TokenOrder,
    lower,
)
from threedis_core.attention.joint_phases import arrange_texts, plans_of
from threedis_core.attention.lowering import MAKERS
from threedis_core.values.schedule import ControlSchedule, StepRange

CPU = torch.device("cpu")
GRID = 6, 5
ALL = frozenset(CONTROLS)
ORDERS = {
    "text first": TokenOrder(),
    "image first": TokenOrder(image_first=True),
    "a mode in front": TokenOrder(prefix=1),
    "learned padding": TokenOrder(image_first=True, prefix=2, suffix=3),
    "learned padding of texts": TokenOrder(image_first=True, text_multiple=4),
}
ALWAYS = {name: StepRange() for name in CONTROLS}
Token = tuple[str, frozenset[int]]
"""What a token is (text, padding, image), and which prompts it belongs to; 0 is the global one."""


def always_dense(plans: Sequence[JointPlan], controls: frozenset[str]) -> ChosenLowering:
    return ChosenLowering("dense", "to compare with")


def rows() -> list[JointRow]:
    """Two pictures between two rows of negative prompts; lengths differ within and among them."""
    masks = np.zeros((3, *GRID), np.bool_)
    masks[0, :3], masks[1, 2:5, 1:4], masks[2, :, 4] = True, True, True
    texts = [torch.ones(length, 4) * length for length in (4, 2, 3, 1)]
    negative = JointRow.unhooked(torch.ones(3, 4), GRID)
    return [negative, JointRow(texts, masks), JointRow(torch.ones(2, 3, 4), masks[:1]), negative]


def tokens_of(row: JointRow, order: TokenOrder, longest: int, site: Site) -> list[Token]:
    """Every token of a row, one by one, in the order of the model."""
    text: list[Token] = []
    for prompt, one in enumerate(row.texts):
        text += [("text", frozenset({prompt}))] * order.padded(len(one))
    text += [("padding", frozenset[int]())] * (longest - len(text))
    image = [
        ("image", frozenset(i + 1 for i, mask in enumerate(row.masks) if mask[y, x]))
        for y in range(GRID[0])
        for x in range(GRID[1])
    ]
    image += [("image", frozenset[int]())] * order.suffix
    if site != "joint":
        return image if site == "image" else text
    front = [("text", frozenset({0}))] * order.prefix
    return [*front, *image, *text] if order.image_first else [*front, *text, *image]


def sees(one: Token, other: Token, controls: frozenset[str]) -> bool:
    """Whether a query of the first token may have the second as its key."""
    (kind, own), (what, theirs) = one, other
    if "padding" in (kind, what):
        return kind == what
    bound, shared = kind == "image" and bool(own), bool(own & theirs)
    instance = kind == "text" and 0 not in own
    if "i2i" in controls and bound and ((what == "image" and not shared) or theirs == {0}):
        return False
    if "i2t" in controls and bound and what == "text" and theirs != {0} and not shared:
        return False
    if "t2i" in controls and instance and what == "image" and not shared:
        return False
    return not ("t2t" in controls and instance and what == "text" and not shared)


def expected(
    heads: Sequence[Tensor], order: TokenOrder, controls: frozenset[str], site: Site
) -> Tensor:
    """The attention by a mask of every pair of tokens."""
    longest = max(sum(order.padded(len(one)) for one in row.texts) for row in rows())
    masks = []
    for row in rows():
        all_tokens = tokens_of(row, order, longest, site)
        masks.append([[sees(one, other, controls) for other in all_tokens] for one in all_tokens])
    query, key, value = (tensor.double() for tensor in heads)
    scores = query @ key.mT * query.shape[-1] ** -0.5
    hidden = ~torch.tensor(masks)[:, None]
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value


def heads_of(plans: Sequence[JointPlan], site: Site) -> list[Tensor]:
    plan = plans[0]
    longest = {"text": plan.text_tokens, "image": plan.image_tokens + plan.order.suffix}
    count = longest.get(site, plan.tokens)
    generator = torch.Generator().manual_seed(count)
    return list(2 * torch.randn(3, len(plans), 2, count, 8, generator=generator))


def controls_to_try() -> Iterator[frozenset[str]]:
    yield from (ALL, ALL - {"i2i"}, *(frozenset({one}) for one in CONTROLS))


@pytest.mark.parametrize("site", ["joint", "image", "text"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
@pytest.mark.parametrize("name", MAKERS)
def test_each_lowering_is_the_attention_of_that_mask(
    name: str, order: TokenOrder, site: Site, arranged: Callable[..., Tensor]
) -> None:
    plans = plans_of(rows(), order)
    heads = heads_of(plans, site)
    for controls in controls_to_try():
        made = lower(plans, controls, name, CPU, torch.float32, site)
        wanted = expected(heads, order, controls, site).float()
        if made is None:
            made = torch.nn.functional.scaled_dot_product_attention
        start = plans[0].image_start if site == "joint" else 0
        torch.testing.assert_close(arranged(made, start, *heads), wanted, atol=1e-5, rtol=1e-5)


@pytest.fixture
def arranged() -> Callable[..., Tensor]:
    """Attend with the image tokens arranged as a lowering asks, which start somewhere."""

    def attend(attention: Callable[..., Tensor], start: int, *heads: Tensor) -> Tensor:
        order = getattr(attention, "order", None)
        if order is None:
            return attention(*heads)
        places = torch.arange(heads[0].shape[2]).repeat(len(order), 1)
        places[:, start : start + order.shape[1]] = start + order
        index = places[:, None, :, None].expand_as(heads[0])
        out = attention(*(tensor.gather(2, index) for tensor in heads))
        return torch.empty_like(out).scatter(2, index, out)

    return attend


def test_texts_are_arranged_as_the_plans_say() -> None:
    text, plans = arrange_texts([row.texts for row in rows()]), plans_of(rows())
    assert text.shape == (4, 10, 4)
    for line, plan in zip(text, plans, strict=True):
        assert plan.text_tokens == 10
        assert (line[10 - plan.padding :] == 0).all()
        assert (line[: 10 - plan.padding] > 0).all()
    assert [plan.padding for plan in plans] == [7, 0, 4, 7]


def test_learned_padding_is_left_to_the_model_which_is_told_where_it_is() -> None:
    order = TokenOrder(text_multiple=4)
    phase = JointPhases(rows(), ControlSchedule(ALWAYS), always_dense, CPU, order).at(0)
    assert phase.text.shape == (4, 16, 4)
    for line, row, (places, fill) in zip(phase.text, phase.rows, phase.text_places(), strict=True):
        assert torch.equal(line[~fill], torch.cat([*row.texts]))
        assert not line[fill].any()
        assert places.tolist() == [1, 2, 3, 4] * len(row.texts) + [1] * (16 - 4 * len(row.texts))


def test_models_that_go_through_the_steps_together_share_their_phases() -> None:
    phases = JointPhases(rows(), ControlSchedule(ALWAYS), always_dense, CPU)
    assert phases.at(0) is phases.at(0)


def test_a_row_of_a_negative_prompt_sees_all_that_is_its_own_and_nothing_else() -> None:
    negative = plans_of(rows())[0]
    kinds = [cell.kind for cell in negative.cells]
    assert kinds == ["text", "padding", "image"]
    allowed = negative.permissions(ALL).tolist()
    assert allowed == [[True, False, True], [False, True, False], [True, False, True]]
