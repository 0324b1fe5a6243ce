"""The hook computes what a mask says that is made from the rules, pair by pair, without the kit.

Rows of the transformer's batch are [negative; positive], tokens [image; text].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.testing import Call, recorded
from threedis_sd35.backend import SD35Renderer

Make = Callable[..., SD35Renderer]
Request = Callable[..., RenderRequest]
CONTROLS = ("i2i", "i2t", "t2i", "t2t")
CAT = ("a red cat", (0.0, 0.0, 0.6, 0.6))
DOG = ("a blue dog", (0.4, 0.4, 1.0, 1.0))
GRID = (4, 4)
EXACT = 1e-5
"""How far numbers that must be equal may be apart, of their standard deviation."""


def only(*names: str) -> ControlSchedule:
    return ControlSchedule({name: StepRange() for name in names})


ALL = only("texts", *CONTROLS)


def regions_of(request: RenderRequest) -> list[set[int]]:
    """The image tokens in the box of each instance: all that it touches."""
    rows, columns = GRID
    found: list[set[int]] = []
    for instance in request.layout.instances:
        x0, y0, x1, y1 = instance.box.xyxy
        across = range(int(np.floor(x0 * columns)), int(np.ceil(x1 * columns)))
        down = range(int(np.floor(y0 * rows)), int(np.ceil(y1 * rows)))
        found.append({row * columns + column for row, column in product(down, across)})
    return found


def may_see(query: tuple[str, Any], key: tuple[str, Any], on: frozenset[str]) -> bool:
    """Whether a token sees another, by the published rules; tokens are (kind, whose)."""
    (kind, own), (other_kind, other) = query, key
    if "padding" in (kind, other_kind):
        return kind == other_kind
    if kind == "image" and own:
        if other_kind == "image":
            return "i2i" not in on or bool(own & other)
        if other == 0:
            return "i2i" not in on
        return "i2t" not in on or other in own
    if kind == "text" and own != 0:
        if other_kind == "image":
            return "t2i" not in on or own in other
        return "t2t" not in on or other == own
    return True


def mask_of(
    request: RenderRequest, lengths: Sequence[int], text: int, on: frozenset[str]
) -> Tensor:
    """Who sees whom in a row, bool, shape (S, S).

    Args:
        request: What is rendered.
        lengths: Tokens of each prompt of the row.
        text: Text tokens of the row with its padding.
        on: The controls.
    """
    regions = regions_of(request)[: len(lengths) - 1]
    tokens: list[tuple[str, Any]] = [
        ("image", frozenset(i for i, own in enumerate(regions, 1) if place in own))
        for place in range(GRID[0] * GRID[1])
    ]
    for prompt, length in enumerate(lengths):
        tokens += [("text", prompt)] * length
    tokens += [("padding", None)] * (text - sum(lengths))
    return torch.tensor([[may_see(one, other, on) for other in tokens] for one in tokens])


class MaskedProcessor:
    """SD3's joint attention written out, with a mask for each row of the batch."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks  # (R, S, S)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Any:
        image = hidden_states.shape[1]

        def heads(tokens: Tensor, layer: nn.Module, norm: nn.Module | None) -> Tensor:
            parted = layer(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            return parted if norm is None else norm(parted)

        query = heads(hidden_states, attn.to_q, attn.norm_q)
        key = heads(hidden_states, attn.to_k, attn.norm_k)
        value = heads(hidden_states, attn.to_v, None)
        if encoder_hidden_states is not None:
            text = encoder_hidden_states
            query = torch.cat([query, heads(text, attn.add_q_proj, attn.norm_added_q)], 2)
            key = torch.cat([key, heads(text, attn.add_k_proj, attn.norm_added_k)], 2)
            value = torch.cat([value, heads(text, attn.add_v_proj, None)], 2)
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        size = query.shape[2]
        scores = scores.masked_fill(~self.masks[:, None, :size, :size], -torch.inf)
        out = (F.softmax(scores, -1) @ value).transpose(1, 2).flatten(2)
        seen = attn.to_out[1](attn.to_out[0](out[:, :image]))
        if encoder_hidden_states is None:
            return seen
        rest = out[:, image:]
        return seen, rest if attn.context_pre_only else attn.to_add_out(rest)


@contextmanager
def masked(transformer: SD3Transformer2DModel, masks: Tensor) -> Iterator[None]:
    own = dict(transformer.attn_processors)
    transformer.set_attn_processor(MaskedProcessor(masks))
    try:
        yield
    finally:
        transformer.set_attn_processor(own)


@contextmanager
def texts_read(transformer: nn.Module) -> Iterator[list[Tensor]]:
    """The texts that the transformer gets in each call, after all hooks."""
    seen: list[Tensor] = []
    embedder: Any = transformer.get_submodule("context_embedder")
    handle = embedder.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    try:
        yield seen
    finally:
        handle.remove()


def calls_of(
    renderer: SD35Renderer, requests: Sequence[RenderRequest]
) -> tuple[list[Call], list[Tensor]]:
    transformer = renderer.load().pipeline.transformer
    with recorded(transformer) as calls, texts_read(transformer) as texts:
        renderer.render(requests)
    return calls, texts


def again(transformer: Any, call: Call, text: Tensor) -> Tensor:
    """What the transformer answers to the inputs of a call with other texts, without the hook."""
    with torch.no_grad():
        inputs = {**call.inputs, "encoder_hidden_states": text, "return_dict": False}
        return transformer(**inputs)[0]


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.std())


def lengths_in(text: Tensor, count: int) -> list[int]:
    """Of prompts that all have as many tokens, the tokens of each."""
    return [text.shape[1] // count] * count


SCHEDULES = [ALL, only("texts"), *(only("texts", name) for name in CONTROLS)]


@pytest.mark.parametrize("kind", ["large", "medium"])
@pytest.mark.parametrize("attention", ["dense", "segments"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: "+".join(sorted(one.ranges)))
def test_every_step_is_that_of_the_mask(
    schedule: ControlSchedule,
    attention: str,
    kind: str,
    make_renderer: Make,
    make_request: Request,
) -> None:
    request = make_request(CAT, DOG, negative_prompt="blurry", control=schedule)
    renderer = make_renderer(kind, attention=attention)
    calls, texts = calls_of(renderer, [request])
    on = frozenset(schedule.ranges) - {"texts"}
    transformer = renderer.load().pipeline.transformer
    for call, text in zip(calls, texts, strict=True):
        lengths = lengths_in(text, 3)
        negative, positive = (
            mask_of(request, some, text.shape[1], on) for some in (lengths[:1], lengths)
        )
        with masked(transformer, torch.stack([negative, positive])):
            expected = again(transformer, call, text)
        assert apart(call.output, expected) <= EXACT


def test_pictures_of_a_batch_have_masks_of_their_own(
    make_renderer: Make, make_request: Request
) -> None:
    """Their numbers of instances differ, so that the shorter texts are padded."""
    requests = [
        make_request(CAT, DOG, control=ALL, seed=1),
        make_request(DOG, prompt="a zoo", control=ALL, seed=2),
    ]
    renderer = make_renderer("medium")
    calls, texts = calls_of(renderer, requests)
    transformer = renderer.load().pipeline.transformer
    on, tokens = frozenset(CONTROLS), texts[0].shape[1]
    own = lengths_in(texts[0], 3)
    rows = [
        (requests[0], own[:1]),
        (requests[1], own[:1]),
        (requests[0], own),
        (requests[1], own[:2]),
    ]
    masks = torch.stack([mask_of(one, lengths, tokens, on) for one, lengths in rows])
    for call, text in zip(calls, texts, strict=True):
        with masked(transformer, masks):
            assert apart(call.output, again(transformer, call, text)) <= EXACT


@pytest.mark.parametrize("kind", ["large", "medium"])
def test_negative_rows_of_the_first_step_are_those_of_the_model_alone(
    kind: str, make_renderer: Make, make_request: Request
) -> None:
    """The padding of the negative text is hidden exactly."""
    request = make_request(CAT, DOG, negative_prompt="a crowd", control=ALL)
    renderer = make_renderer(kind)
    (first, *_), _ = calls_of(renderer, [request])
    transformer = renderer.load().pipeline.transformer
    alone = again(transformer, first, first.inputs["encoder_hidden_states"])
    assert apart(first.output[:1], alone[:1]) <= EXACT
    assert apart(first.output[1:], alone[1:]) > 100 * EXACT


def test_the_plain_model_goes_on_after_the_texts_are_dropped(
    make_renderer: Make, make_request: Request
) -> None:
    request = make_request(CAT, DOG)
    renderer = make_renderer("medium", steps=4, texts_steps=10)  # of 20: half of the steps
    calls, texts = calls_of(renderer, [request])
    assert [text.shape[1] for text in texts] == [*[3 * (77 + 24)] * 2, *[77 + 24] * 2]
    transformer = renderer.load().pipeline.transformer
    for call, text in zip(calls[2:], texts[2:], strict=True):
        assert torch.equal(text, call.inputs["encoder_hidden_states"])
        assert torch.equal(call.output, again(transformer, call, text))


def test_a_text_that_nobody_may_see_is_as_if_it_was_absent(
    make_renderer: Make, make_request: Request
) -> None:
    """Also if it is longer than all others, with as many tokens as each prompt needs."""
    whole = ("a cat", (0.0, 0.0, 1.0, 1.0))
    nowhere = ("an old fisherman in a cyan coat, far away", (0.0, 0.0, 0.5, 0.5))
    both, alone = (make_request(*some, control=ALL) for some in ((whole, nowhere), (whole,)))
    masks = [np.ones((64, 64), np.bool_), np.zeros((64, 64), np.bool_)]
    regions = replace(both.regions, masks=tuple(masks))
    hidden = replace(both, regions=regions, depth=alone.depth)
    for options in ({}, {"tokens_per_prompt": "auto"}, {"attention": "segments"}):
        renderer = make_renderer("medium", **options)
        calls = [calls_of(renderer, [one])[0] for one in (hidden, alone)]
        for one, other in zip(*calls, strict=True):
            assert apart(one.output, other.output) <= EXACT
