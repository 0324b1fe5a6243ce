"""Adaptive layer norms whose shift, scale and gate differ from token to token.

diffusers computes them once a picture, from the time; a LoRA of their linear layer that counts at
some tokens only makes them differ.

Shapes: B pictures, S tokens, D channels; a norm has K numbers per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.models.normalization import (
    AdaLayerNormContinuous,
    AdaLayerNormZero,
    AdaLayerNormZeroSingle,
)
from torch import Tensor, nn

from threedis_diffusers.instance_loras.layers import Adapters

NORMS = (AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous)
"""The norms whose tokens can be told apart; each has its LoRAs in its layer ``linear``."""

TokenStrength = Callable[[str], Tensor | float]
"""Gives by a LoRA's name how strongly it counts, shape (S, 1)."""


class PerToken:
    """What a block takes for one vector a picture, (B, D), and is one a token: (B, S, D).

    A block makes room for the tokens, by ``unsqueeze(1)`` or ``[:, None]``; here they are there.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def unsqueeze(self, dim: int) -> Tensor:
        """The values, (B, S, D)."""
        return self._values

    def __getitem__(self, index: Any) -> Tensor:
        return self._values


class ModulationHook:
    """Adds LoRAs to the modulation of norms while it is on, token by token.

    Args:
        adapters: The LoRAs.
        strengths: Norms, and how strong LoRAs are at their tokens.
    """

    def __init__(self, adapters: Adapters, strengths: Mapping[Any, TokenStrength]) -> None:
        self._adapters, self._strengths = adapters, strengths
        self._handles: list[Any] = []

    def switch(self, on: bool) -> None:
        """Add the LoRAs, or take them out again."""
        if on and not self._handles:
            for norm, strength in self._strengths.items():
                self._attach(norm, strength)
        elif not on:
            self.detach()

    def detach(self) -> None:
        """Leave no trace in the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _attach(self, norm: Any, strength: TokenStrength) -> None:
        seen: list[Tensor] = []  # the linear layer's input and output, between the two hooks

        @torch.compiler.disable
        def look(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            seen[:] = [args[0], output]

        @torch.compiler.disable
        def modulate(module: Any, args: tuple[Any, ...], output: Any) -> Any:
            vector, plain = seen
            seen.clear()
            added: Any = 0.0
            for name in self._adapters.of(norm.linear):
                extra = self._adapters.added(norm.linear, name, vector)[:, None]
                added = added + extra * strength(name)
            return _modulated(norm, args[0], (plain[:, None] + added).to(plain.dtype))

        self._handles += [
            norm.linear.register_forward_hook(look),
            norm.register_forward_hook(modulate),
        ]


def _modulated(norm: Any, tokens: Tensor, numbers: Tensor) -> Any:
    """What ``norm`` gives for tokens (B, S, D), with numbers of each token, (B, S, K * D)."""
    if isinstance(norm, AdaLayerNormContinuous):
        scale, shift = numbers.chunk(2, -1)
        return norm.norm(tokens) * (1 + scale) + shift
    shift, scale, *rest = numbers.chunk(6 if isinstance(norm, AdaLayerNormZero) else 3, -1)
    return (norm.norm(tokens) * (1 + scale) + shift, *map(PerToken, rest))
