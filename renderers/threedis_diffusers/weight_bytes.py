"""How much memory a loaded model holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

DEEPEST = 3
"""How far below what was loaded a model is looked for: a record, a pipeline, a part."""


def weight_bytes(loaded: Any) -> int:
    """Bytes of all weights and buffers in ``loaded``, on any device; what is shared counts once.

    Args:
        loaded: A model, a pipeline, or a record that holds some.
    """
    held = {
        (tensor.device, tensor.untyped_storage().data_ptr()): tensor.untyped_storage().nbytes()
        for model in _models(loaded, DEEPEST)
        for whole in (*model.parameters(), *model.buffers())
        for tensor in plain_tensors(whole)
        if not tensor.is_meta
    }
    return sum(held.values())


def plain_tensors(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors with numbers that a quantised one is made of; a plain one is itself."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(tensor, name))


def _models(thing: Any, depth: int) -> Iterator[nn.Module]:
    if isinstance(thing, nn.Module):
        yield thing
    elif depth:
        inner = getattr(thing, "components", None)
        parts = inner if isinstance(inner, Mapping) else getattr(thing, "__dict__", {})
        for part in parts.values():
            yield from _models(part, depth - 1)
