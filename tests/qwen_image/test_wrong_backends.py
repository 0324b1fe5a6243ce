"""What is wrong inside Qwen-Image's hook fails the tests of what it computes, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import threedis_qwen_image.hook as hook
from threedis_core.attention import JointPhase
from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.joint.hook import JointHook, TwoPassHook
from threedis_qwen_image.backend import QwenImageRenderer
from threedis_qwen_image.hook import PlacedAttention, QwenImageHook

from . import test_qwen_image as tests

modules, places = hook.attention_modules, JointPhase.text_places


def without(block: str) -> Callable[..., Any]:
    """A block left unhooked."""
    return lambda model: [(name, one) for name, one in modules(model) if block not in name]


def counted_on(self: JointPhase) -> Any:
    """Texts one behind another, as the stock model has them."""
    return [(torch.arange(1, len(own) + 1), fill) for own, fill in places(self)]


def one_further(self: JointPhase) -> Any:
    return [(own + 1, fill) for own, fill in places(self)]


@contextmanager
def turned_twice(model: Any, phase: JointPhase) -> Iterator[None]:
    """The model's own turns are left in."""
    with placed(model, phase):
        inside, stock = model.pos_embed.forward, type(model.pos_embed).forward

        def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            inside(*args, **kwargs)
            return stock(model.pos_embed, *args, **kwargs)

        model.pos_embed.forward = forward
        yield


placed = hook._placed


def values_turned(self: PlacedAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return self._attention(self._turned(query), self._turned(key), self._turned(value))


def queries_alone(self: PlacedAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return self._attention(self._turned(query), key, value)


def any_of_the_same(self: TwoPassHook, *args: Any) -> Any:
    """The same text is the prompt's, however often it comes."""
    self._given = False
    return before(self, *args)


before = TwoPassHook.before


def all_rules_off(phase: JointPhase, site: Any = "joint") -> None:
    return None


def alone(renew: dict[str, Any]) -> None:
    tests.check_alone(**renew)


def regions(renew: dict[str, Any]) -> None:
    tests.check_regions(renew["make_renderer"], renew["make_request"])


def negative(renew: dict[str, Any]) -> None:
    tests.check_negative(**renew)


WRONG: dict[str, tuple[Any, str, Any, Callable[[dict[str, Any]], None]]] = {
    "the first block unhooked": (hook, "attention_modules", without("blocks.0."), regions),
    "the last block unhooked": (hook, "attention_modules", without("blocks.2."), alone),
    "no rules": (JointPhase, "attention", all_rules_off, regions),
    "texts one behind another": (JointPhase, "text_places", counted_on, alone),
    "texts one place further": (JointPhase, "text_places", one_further, alone),
    "texts turned twice": (hook, "_placed", turned_twice, alone),
    "values turned": (PlacedAttention, "__call__", values_turned, alone),
    "queries turned alone": (PlacedAttention, "__call__", queries_alone, alone),
    "both calls hooked": (QwenImageHook, "before", JointHook.before, negative),
    "the same text hooked again": (QwenImageHook, "before", any_of_the_same, negative),
    "the negative call hooked alone": (
        *(QwenImageHook, "_is_positive", lambda self, text: not positive(self, text)),
        negative,
    ),
    "the wrong guidance": (
        *(QwenImageRenderer, "arguments", lambda self, pipeline, batch: {"guidance_scale": None}),
        negative,
    ),
}
positive = TwoPassHook._is_positive


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(
    name: str,
    make_renderer: Callable[..., QwenImageRenderer],
    make_request: Callable[..., RenderRequest],
    stock: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renew = {"make_renderer": make_renderer, "make_request": make_request, "stock": stock}
    where, what, wrong, check = WRONG[name]
    check(renew)
    monkeypatch.setattr(where, what, wrong)
    with pytest.raises((AssertionError, RenderError, RuntimeError)):
        check(renew)
