"""A FLUX transformer whose image tokens go through its blocks in another order.

Shapes: B pictures, S image tokens of C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from threedis_flux.attention import Rotary

RESIDUALS = ("controlnet_block_samples", "controlnet_single_block_samples")
"""What a ControlNet adds to the image tokens."""


@contextmanager
def arranged(transformer: Any, order: Tensor) -> Iterator[None]:
    """Arrange the image tokens and their positions on the way in, and put them back at the end.

    Args:
        transformer: A ``FluxTransformer2DModel``.
        order: Which image token comes to each place, shape (B, S).
    """
    back = order.argsort(1)  # the inverse permutation

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs["hidden_states"] = _arrange(kwargs["hidden_states"], order)
        for name in RESIDUALS:
            if kwargs.get(name) is not None:
                kwargs[name] = [_arrange(one, order) for one in kwargs[name]]
        return args, kwargs

    def positions(module: nn.Module, args: tuple[Any, ...], rotary: Rotary) -> Rotary:
        return arrange_positions(rotary, order)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (_arrange(output[0], back), *output[1:])
        output.sample = _arrange(output.sample, back)
        return output

    handles = [
        transformer.register_forward_pre_hook(before, with_kwargs=True),
        transformer.pos_embed.register_forward_hook(positions),
        transformer.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def arrange_positions(rotary: Rotary, order: Tensor) -> Rotary:
    """The rotation of image tokens that are arranged anew, shape (B, S, D) each.

    Args:
        rotary: Of the tokens as they were, shape (S, D) each.
        order: Which image token comes to each place, shape (B, S).
    """
    text = rotary[0].shape[0] - order.shape[1]
    places = torch.arange(text, device=order.device).expand(len(order), text)
    places = torch.cat([places, text + order], 1)
    return rotary[0][places], rotary[1][places]


def _arrange(tokens: Tensor, order: Tensor) -> Tensor:
    """Image tokens (B, S, C) in another order, shape (B, S)."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))
