"""Qwen-Image's joint-attention hook: each text where it would be if it was alone.

The model counts the positions of text on from the image's, so that an instance's would depend on
how long the others' are. Here each text's begin anew; the global prompt's and the image's stay.

Shapes: R rows; T text tokens, padding included; H heads of D channels; S
tokens, text first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from threedis_core.attention import JointPhase
from threedis_diffusers.joint.hook import TwoPassHook
from threedis_diffusers.joint.processor import PlannedProcessor, attention_modules


class QwenImageHook(TwoPassHook):
    """Gives Qwen-Image's transformer the texts of each phase, and their places."""

    def enter(self, phase: JointPhase, stack: ExitStack) -> None:
        """Begin a phase."""
        if all(len(row.texts) == 1 for row in phase.rows):
            super().enter(phase, stack)
        else:
            stack.enter_context(_placed(self.model, phase))

    def given(self, kwargs: dict[str, Any], text: Tensor) -> dict[str, Any]:
        """The phase's texts; what of them is padding the plan knows."""
        return {**super().given(kwargs, text), "encoder_hidden_states_mask": None}


class PlacedAttention:
    """A phase's attention, before which the texts are turned to their places.

    Args:
        phase: The phase.
    """

    def __init__(self, phase: JointPhase) -> None:
        self._attention = phase.attention() or scaled_dot_product_attention
        self._places = torch.stack([places - 1 for places, _ in phase.text_places()])
        self._turns: Tensor

    def take(self, turns: Tensor) -> Tensor:
        """Take the model's turns of T text tokens, (T, D/2), complex; give it none instead."""
        self._turns = turns[self._places.to(turns.device)][:, None]
        return turns.new_ones(self._places.shape[1], turns.shape[1])

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend; all are of shape (R, H, S, D)."""
        return self._attention(self._turned(query), self._turned(key), value)

    def _turned(self, tokens: Tensor) -> Tensor:
        text = self._places.shape[1]
        pairs = torch.view_as_complex(tokens[:, :, :text].float().unflatten(3, (-1, 2)))
        turned = torch.view_as_real(pairs * self._turns).flatten(3).to(tokens)
        return torch.cat([turned, tokens[:, :, text:]], 2)


@contextmanager
def _placed(model: Any, phase: JointPhase) -> Iterator[None]:
    """Have a phase's attention and places in ``model`` while inside."""
    attention: Any = PlacedAttention(phase)
    places, before = model.pos_embed, vars(model.pos_embed).get("forward")  # offloading's, say
    stock = places.forward
    own = [(module, module.processor) for _, module in attention_modules(model)]

    def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        image, text = stock(*args, **kwargs)
        return image, attention.take(text)

    try:
        places.forward = forward
        for module, processor in own:
            module.set_processor(PlannedProcessor(processor, [attention]))
        yield
    finally:
        for module, processor in own:
            module.set_processor(processor)
        del places.forward
        if before is not None:
            places.forward = before
