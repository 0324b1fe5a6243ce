"""What goes into a module and what comes out of it, call by call; and models that are awake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a denoiser.

    Args:
        inputs: What the pipeline gave it by name, before any hook of the renderer changed that.
        output: What the pipeline got, shape (rows, ...).
    """

    inputs: Mapping[str, Any]
    output: Tensor


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Call]]:
    """Note every call of ``module`` inside, around all hooks that others put there."""
    calls: list[Call] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = {name: _kept(value) for name, value in kwargs.items()}

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            handle.remove()
            calls.append(Call(given, sample(output).detach().clone()))

        # Put there by each call anew, it is the last of the hooks.
        handle = module.register_forward_hook(after)

    first = module.register_forward_pre_hook(before, with_kwargs=True, prepend=True)
    try:
        yield calls
    finally:
        first.remove()


def sample(output: Any) -> Tensor:
    """The tensor in what a model returns: a tuple, an object with a ``sample``, a list of rows."""
    if isinstance(output, Tensor):
        return output
    found = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
    return torch.stack(list(found)) if isinstance(found, list) else found


def awaken(model: nn.Module, seed: int = 0, std: float = 0.2) -> nn.Module:
    """Give numbers to the weights of a model that are all zero, through which nothing is seen.

    A new ControlNet ends in such layers; with them a test of what it does passes whatever it does.

    Args:
        model: A model of random weights; changed in place.
        seed: The same seed gives the same numbers.
        std: Their standard deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    return model


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value
