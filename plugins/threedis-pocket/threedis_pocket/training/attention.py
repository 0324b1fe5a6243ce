"""Attention of a training in bfloat16: the backward pass of torch's own is slow on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class Float32Attention(TorchFunctionMode):
    """Compute attention in float32 whatever else is computed in, within a ``with``."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        told = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **told)
        device = (args[0] if args else told["query"]).device.type
        args = [one.float() if isinstance(one, torch.Tensor) else one for one in args]
        told = {k: v.float() if k in ("query", "key", "value") else v for k, v in told.items()}
        with torch.autocast(device, enabled=False):
            return func(*args, **told)
