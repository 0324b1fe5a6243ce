"""torch's lazy device: it computes on the CPU, but takes tensors of its own alone, as GPUs do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch
import torch._lazy.ts_backend
from torch.overrides import TorchFunctionMode


@cache
def start() -> torch.device:
    """Start it, which a process can do once."""
    torch._lazy.ts_backend.init()
    module: Any = ModuleType("torch.lazy")
    module.empty_cache = lambda: None
    module.Stream = object  # of which this device has none
    torch._register_device_module("lazy", module)
    return torch.device("lazy", 0)


@contextmanager
def lazy_device() -> Iterator[torch.device]:
    """It, while inside."""
    device = start()
    with ListsStayLazy():
        yield device


class ListsStayLazy(TorchFunctionMode):
    """Repairs what torch leaves on the CPU of a lazy tensor: all that it makes several of."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if type(made) not in (tuple, list):
            return made
        return type(made)(self._repaired(one) for one in made)

    def _repaired(self, one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or one.device.type != "lazy":
            return one
        inner = torch._from_functional_tensor(one) if torch._is_functional_tensor(one) else one
        return one if inner.device == one.device else inner.to(one.device)
